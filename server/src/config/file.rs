//! The configuration file: YAML, of which JSON is a part.

use serde_json::Value as Json;

use super::error::ConfigError;
use super::flags::{self, Flag, Kind};
use super::settings::Settings;
use super::types::{Notice, Severity};
use super::value::Value;

/// Reads the file at `path`.
///
/// Types are strict as in etcd: a duration is an integer of nanoseconds, a number is not a text. A
/// key that is unknown is warned of (etcd drops it in silence).
pub(super) fn load(path: &str, notices: &mut Vec<Notice>) -> Result<Settings, ConfigError> {
    let error = |cause: String| ConfigError::File { path: path.to_owned(), cause };
    let text = std::fs::read_to_string(path).map_err(|cause| error(cause.to_string()))?;
    parse(&text, notices).map_err(error)
}

fn parse(text: &str, notices: &mut Vec<Notice>) -> Result<Settings, String> {
    let document: Json =
        serde_norway::from_str(text).map_err(|cause| format!("cannot be read as YAML: {cause}"))?;
    let mut settings = Settings::default();
    if !document.is_object() && !document.is_null() {
        return Err(format!("expected keys and values, found {document}"));
    }
    read_object(&mut settings, "", &document, notices)?;
    Ok(settings)
}

fn read_object(
    settings: &mut Settings,
    prefix: &str,
    object: &Json,
    notices: &mut Vec<Notice>,
) -> Result<(), String> {
    for (key, json) in object.as_object().into_iter().flatten() {
        let path = format!("{prefix}{key}");
        if json.is_null() {
            continue;
        }
        if let Some(flag) = flags::all().find(|flag| flag.yaml == Some(path.as_str())) {
            let value = value(flag, json).map_err(|cause| format!("{path}: {cause}"))?;
            settings.set(flag, as_text(json), value);
        } else if json.is_object() && is_prefix(&path) {
            read_object(settings, &format!("{path}."), json, notices)?;
        } else {
            notices.push(Notice {
                severity: Severity::Warn,
                message: "unrecognized key in the configuration file".to_owned(),
                subject: path,
            });
        }
    }
    Ok(())
}

fn is_prefix(path: &str) -> bool {
    flags::all()
        .filter_map(|flag| flag.yaml)
        .any(|yaml| yaml.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

fn as_text(json: &Json) -> String {
    json.as_str().map_or_else(|| json.to_string(), str::to_owned)
}

fn value(flag: &Flag, json: &Json) -> Result<Value, String> {
    let expected = |what: &str| Err(format!("expected {what}, found {json}"));
    match (flag.kind, json) {
        (Kind::Bool, Json::Bool(on)) => Ok(Value::Bool(*on)),
        (Kind::Bool, _) => expected("true or false"),
        (Kind::Duration, Json::Number(number)) => match number.as_i64() {
            Some(nanos) => Ok(Value::Duration(nanos)),
            None => expected("an integer of nanoseconds"),
        },
        (Kind::Duration, _) => expected("an integer of nanoseconds (600000000000 for 10m)"),
        (Kind::Int | Kind::Uint | Kind::Uint32, Json::Number(number)) => {
            Value::parse(flag.kind, &number.to_string())
        }
        (Kind::Int | Kind::Uint | Kind::Uint32, _) => expected("a number"),
        (Kind::Sequence, Json::Array(items)) => {
            let words = items.iter().map(|item| item.as_str().map(str::to_owned));
            match words.collect::<Option<Vec<_>>>() {
                Some(words) => Ok(Value::Words(words)),
                None => expected("a sequence of texts"),
            }
        }
        (Kind::Sequence, _) => expected("a sequence of texts"),
        (
            Kind::Text | Kind::Urls | Kind::Origins | Kind::Words | Kind::OneOf(_) | Kind::Gates,
            Json::String(text),
        ) => Value::parse(flag.kind, text),
        (
            Kind::Text | Kind::Urls | Kind::Origins | Kind::Words | Kind::OneOf(_) | Kind::Gates,
            _,
        ) => expected("a text"),
    }
}
