//! Where the log goes, and what is in it.

use std::path::PathBuf;

use super::invalid;
use crate::config::error::ConfigError;
use crate::config::settings::Settings;
use crate::config::types::{LogConfig, LogFormat, LogLevel, LogOutput};

pub(super) fn log(settings: &Settings) -> Result<LogConfig, ConfigError> {
    let level = match settings.text("log-level").as_str() {
        "debug" => LogLevel::Debug,
        "info" => LogLevel::Info,
        "warn" => LogLevel::Warn,
        _error_panic_fatal => LogLevel::Error,
    };
    let format = match settings.text("log-format").as_str() {
        "console" => LogFormat::Console,
        _json => LogFormat::Json,
    };
    let words = settings.words("log-outputs");
    if words.len() > 1 && words.iter().any(|word| word == "default") {
        return invalid("multi logoutput for \"default\" is not supported yet".to_owned());
    }
    let mut outputs = Vec::new();
    for word in words {
        outputs.push(match word.as_str() {
            "default" | "stderr" => LogOutput::Stderr,
            "stdout" => LogOutput::Stdout,
            "systemd/journal" => {
                return Err(ConfigError::NotBuilt {
                    flag: "log-outputs".to_owned(),
                    value: word,
                    reason: "log to stderr, which systemd puts into the journal".to_owned(),
                });
            }
            "" => return invalid("open sink \"\": open : no such file or directory".to_owned()),
            path => LogOutput::File(PathBuf::from(path)),
        });
    }
    if outputs.is_empty() {
        return invalid("--log-outputs names no output".to_owned());
    }
    Ok(LogConfig { level, format, outputs })
}
