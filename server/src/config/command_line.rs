//! The command line as Go's flag package reads it.

use super::error::ConfigError;
use super::flags::{self, Flag, Kind};
use super::removed;
use super::settings::Settings;
use super::value::Value;

/// What the command line asks for.
#[derive(Debug)]
pub(super) enum CommandLine {
    Run(Settings),
    Help,
}

/// Reads the arguments after the program's name.
///
/// `-k v`, `--k v`, `-k=v`, `--k=v`; a boolean takes its value only after `=`; the last of a
/// repeated flag wins; `--` and the first word without a dash end the flags.
pub(super) fn parse(arguments: &[String]) -> Result<CommandLine, ConfigError> {
    let mut settings = Settings::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            break;
        }
        let Some(body) = dashless(argument)? else {
            return Err(ConfigError::Positional(argument.clone()));
        };
        let (name, inline) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (body, None),
        };
        let Some(flag) = flags::find(name) else {
            if name == "help" || name == "h" {
                return Ok(CommandLine::Help);
            }
            return Err(not_defined(name));
        };
        let text = match inline {
            Some(text) => text,
            None if flag.kind == Kind::Bool => "true".to_owned(),
            None => {
                rest.next().cloned().ok_or_else(|| ConfigError::NeedsArgument(name.to_owned()))?
            }
        };
        set(&mut settings, flag, text)?;
    }
    match rest.next() {
        Some(word) => Err(ConfigError::Positional(word.clone())),
        None => Ok(CommandLine::Run(settings)),
    }
}

fn dashless(argument: &str) -> Result<Option<&str>, ConfigError> {
    let Some(body) = argument.strip_prefix('-').filter(|body| !body.is_empty()) else {
        return Ok(None);
    };
    let body = body.strip_prefix('-').unwrap_or(body);
    if body.is_empty() || body.starts_with(['-', '=']) {
        return Err(ConfigError::Syntax(argument.to_owned()));
    }
    Ok(Some(body))
}

fn not_defined(name: &str) -> ConfigError {
    ConfigError::NotDefined { name: name.to_owned(), remedy: removed::remedy(name) }
}

fn set(settings: &mut Settings, flag: &'static Flag, text: String) -> Result<(), ConfigError> {
    match Value::parse(flag.kind, &text) {
        Ok(value) => {
            settings.set(flag, text, value);
            Ok(())
        }
        Err(cause) => Err(ConfigError::BadValue {
            flag: flag.name.to_owned(),
            value: text,
            cause,
            boolean: flag.kind == Kind::Bool,
        }),
    }
}
