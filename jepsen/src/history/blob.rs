//! Bytes of a key or a value, readable when printed or serialised.

use bytes::Bytes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A key or a value exactly as the server sent it.
///
/// Histories are read by people, so it prints and serialises as ASCII with the escapes of a Rust
/// byte string; every byte sequence survives the round trip (a damaged value need not be UTF-8).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Blob(Bytes);

impl Blob {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as the wire type; shares the allocation.
    pub fn to_bytes(&self) -> Bytes {
        self.0.clone()
    }

    /// True for the empty sequence.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn parse(text: &str) -> Option<Self> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            if byte != b'\\' {
                bytes.push(byte);
                continue;
            }
            bytes.push(match rest.next()? {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'x' => hex_digit(rest.next()?)? * 16 + hex_digit(rest.next()?)?,
                quoted @ (b'\\' | b'\'' | b'"') => quoted,
                _ => return None,
            });
        }
        Some(Self(bytes.into()))
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

impl From<Bytes> for Blob {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<&str> for Blob {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Blob {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "\"{}\"", self.0.escape_ascii())
    }
}

impl fmt::Display for Blob {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.0.escape_ascii())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom(format!("bad escape in {text:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::Blob;
    use bytes::Bytes;

    #[test]
    fn every_byte_survives_json() {
        let all = Blob::from((0..=u8::MAX).collect::<Bytes>());
        let text = serde_json::to_string(&all).expect("serialises");
        assert_eq!(serde_json::from_str::<Blob>(&text).expect("parses"), all);
    }

    #[test]
    fn a_bad_escape_is_refused() {
        for text in [r"\", r"\q", r"\x1", r"\xzz"] {
            assert_eq!(Blob::parse(text), None, "{text}");
        }
    }
}
