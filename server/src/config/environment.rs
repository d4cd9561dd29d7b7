//! `ETCD_*` variables.

use super::error::ConfigError;
use super::flags;
use super::removed;
use super::settings::Settings;
use super::types::{Notice, Severity};
use super::value::Value;

const PREFIX: &str = "ETCD_";

/// Adds what the environment sets to what the command line set.
///
/// An empty variable counts as unset. A variable beside its flag is refused, as etcd refuses it:
/// one of the two would be ignored without a word.
pub(super) fn apply(
    settings: &mut Settings,
    variables: &[(String, String)],
    notices: &mut Vec<Notice>,
) -> Result<(), ConfigError> {
    for (variable, text) in variables {
        let Some(suffix) = variable.strip_prefix(PREFIX) else { continue };
        let name = suffix.to_ascii_lowercase().replace('_', "-");
        if name == "version" {
            notices.push(warning("cannot set special environment variable", variable));
            continue;
        }
        let Some(flag) = flags::find(&name).filter(|flag| flag.env() == *variable) else {
            notices.push(unrecognized(variable, &name));
            continue;
        };
        if settings.is_given(flag.name) {
            return Err(ConfigError::Shadowed(variable.clone()));
        }
        if text.is_empty() {
            continue;
        }
        let value = Value::parse(flag.kind, text).map_err(|cause| ConfigError::BadVariable {
            variable: variable.clone(),
            value: text.clone(),
            cause,
        })?;
        settings.set(flag, text.clone(), value);
    }
    Ok(())
}

fn warning(message: &str, variable: &str) -> Notice {
    Notice { severity: Severity::Warn, message: message.to_owned(), subject: variable.to_owned() }
}

fn unrecognized(variable: &str, name: &str) -> Notice {
    match removed::remedy(name) {
        Some(remedy) => warning(&format!("unrecognized environment variable: {remedy}"), variable),
        None => warning("unrecognized environment variable", variable),
    }
}
