//! Reading one value as Go's flag package does.

use super::flags::Kind;
use super::gates::FeatureGates;
use super::urls::{Url, parse_urls};

/// A value that has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Bool(bool),
    Text(String),
    Int(i64),
    Uint(u64),
    /// Nanoseconds; Go's durations have a sign.
    Duration(i64),
    Urls(Vec<Url>),
    Words(Vec<String>),
    Gates(FeatureGates),
}

impl Value {
    /// Reads `text`; the error is the part of etcd's message after the flag's name.
    pub(super) fn parse(kind: Kind, text: &str) -> Result<Self, String> {
        match kind {
            Kind::Bool => parse_bool(text).map(Self::Bool).ok_or_else(|| "parse error".into()),
            Kind::Text => Ok(Self::Text(text.to_owned())),
            Kind::Int => parse_int(text).map(Self::Int),
            Kind::Uint => parse_uint(text).map(Self::Uint),
            Kind::Uint32 => match parse_uint(text) {
                Ok(number) if u32::try_from(number).is_ok() => Ok(Self::Uint(number)),
                Ok(_) => Err(format!("strconv.ParseUint: parsing {text:?}: value out of range")),
                Err(cause) if cause == "parse error" => {
                    Err(format!("strconv.ParseUint: parsing {text:?}: invalid syntax"))
                }
                Err(cause) => Err(format!("strconv.ParseUint: parsing {text:?}: {cause}")),
            },
            Kind::Duration => {
                parse_duration(text).map(Self::Duration).map_err(|_cause| "parse error".into())
            }
            Kind::Urls if text.is_empty() => Ok(Self::Urls(Vec::new())),
            Kind::Urls => parse_urls(text).map(Self::Urls),
            Kind::Origins => {
                let words = split_words(text);
                for origin in words.iter().filter(|origin| *origin != "*") {
                    parse_urls(origin)?;
                }
                Ok(Self::Words(words))
            }
            Kind::Words | Kind::Sequence => Ok(Self::Words(split_words(text))),
            Kind::OneOf(words) if words.contains(&text) => Ok(Self::Text(text.to_owned())),
            Kind::OneOf(words) => Err(format!("invalid value; one of {}", words.join(", "))),
            Kind::Gates => FeatureGates::parse(text).map(Self::Gates),
        }
    }
}

fn split_words(text: &str) -> Vec<String> {
    if text.is_empty() { Vec::new() } else { text.split(',').map(str::to_owned).collect() }
}

/// The spellings of Go's `strconv.ParseBool`.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// An integer literal of Go: decimal, 0x, 0o, 0b, leading 0 for octal, `_` between digits.
fn parse_uint(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let (digits, radix, prefixed) = match lower.as_bytes() {
        [b'0', b'x', ..] => (&lower[2..], 16, true),
        [b'0', b'o', ..] => (&lower[2..], 8, true),
        [b'0', b'b', ..] => (&lower[2..], 2, true),
        [b'0', _, ..] => (&lower[1..], 8, true),
        _ => (lower.as_str(), 10, false),
    };
    // An underscore stands between digits, or between a base prefix and a digit.
    let misplaced = digits.ends_with('_') || digits.contains("__");
    let misplaced = misplaced || (!prefixed && digits.starts_with('_'));
    let plain: String = digits.chars().filter(|c| *c != '_').collect();
    let is_digits = !plain.is_empty() && plain.chars().all(|c| c.is_digit(radix));
    if misplaced || !is_digits {
        return Err("parse error".into());
    }
    u64::from_str_radix(&plain, radix).map_err(|_overflow| "value out of range".into())
}

fn parse_int(text: &str) -> Result<i64, String> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let magnitude = i128::from(parse_uint(digits)?);
    let number = if negative { -magnitude } else { magnitude };
    i64::try_from(number).map_err(|_overflow| "value out of range".into())
}

/// Nanoseconds of a Go duration such as `1h2m`, `1.5s`, `-3ms`, `0`.
///
/// The error is the text of Go's `time.ParseDuration`.
pub(super) fn parse_duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (negative, mut rest) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(invalid());
        }
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, after) = tail.split_at(end);
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {text:?}"));
        }
        let scale = unit_nanos(unit)
            .ok_or_else(|| format!("time: unknown unit {unit:?} in duration {text:?}"))?;
        total += scaled(whole, fraction, scale).ok_or_else(invalid)?;
        rest = after;
    }
    i64::try_from(if negative { -total } else { total }).map_err(|_overflow| invalid())
}

/// `whole.fraction` units of `scale` nanoseconds, cut to whole nanoseconds.
fn scaled(whole: &str, fraction: &str, scale: i128) -> Option<i128> {
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse::<i64>().ok()?.into() };
    // 18 digits are below a nanosecond for every unit.
    let fraction = &fraction[..fraction.len().min(18)];
    let part: i128 = if fraction.is_empty() { 0 } else { fraction.parse::<i64>().ok()?.into() };
    let digits = u32::try_from(fraction.len()).ok()?;
    Some(whole * scale + part * scale / 10_i128.pow(digits))
}

fn unit_nanos(unit: &str) -> Option<i128> {
    match unit {
        "ns" => Some(1),
        "us" | "\u{b5}s" | "\u{3bc}s" => Some(1_000),
        "ms" => Some(1_000_000),
        "s" => Some(1_000_000_000),
        "m" => Some(60_000_000_000),
        "h" => Some(3_600_000_000_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        let cases = [
            ("0", Ok(0)),
            ("100ms", Ok(100_000_000)),
            ("1h2m", Ok(3_720_000_000_000)),
            ("1.5s", Ok(1_500_000_000)),
            (".5s", Ok(500_000_000)),
            ("-3ms", Ok(-3_000_000)),
            ("1µs", Ok(1_000)),
            ("", Err("time: invalid duration \"\"")),
            ("5", Err("time: missing unit in duration \"5\"")),
            ("-5", Err("time: missing unit in duration \"-5\"")),
            ("5x", Err("time: unknown unit \"x\" in duration \"5x\"")),
            ("foo", Err("time: invalid duration \"foo\"")),
            (".s", Err("time: invalid duration \".s\"")),
            ("99999999999h", Err("time: invalid duration \"99999999999h\"")),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_duration(text), expected.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn integers_are_read_as_go_reads_them() {
        let cases = [
            ("0", Ok(0)),
            ("0x10", Ok(16)),
            ("010", Ok(8)),
            ("0o17", Ok(15)),
            ("0b11", Ok(3)),
            ("1_000", Ok(1000)),
            ("0x_f", Ok(15)),
            ("-1", Err("parse error")),
            ("_1", Err("parse error")),
            ("1_", Err("parse error")),
            ("1__0", Err("parse error")),
            ("09", Err("parse error")),
            ("", Err("parse error")),
            ("99999999999999999999", Err("value out of range")),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_uint(text), expected.map_err(str::to_owned), "{text}");
        }
        assert_eq!(parse_int("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(parse_int("9223372036854775808"), Err("value out of range".into()));
    }

    #[test]
    fn a_uint32_says_what_strconv_says() {
        assert_eq!(
            Value::parse(Kind::Uint32, "4294967296"),
            Err(r#"strconv.ParseUint: parsing "4294967296": value out of range"#.into())
        );
    }
}
