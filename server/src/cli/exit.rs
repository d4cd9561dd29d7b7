//! What is said before logs are open.

use std::io::Write;
use std::process::ExitCode;

use crate::config::{ConfigError, LogConfig, LogFormat, LogLevel, LogOutput, usage};
use crate::logging;

/// Prints to standard output; a reader that went away is no failure.
pub fn print(text: &str) -> ExitCode {
    let mut stdout = std::io::stdout().lock();
    let _reader_may_be_gone = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    ExitCode::SUCCESS
}

/// Says why the configuration is refused: as plain text with usage if the command line cannot be
/// read, else as a line of the log.
pub fn refuse(error: &ConfigError) -> ExitCode {
    if error.is_usage() {
        let _nobody_to_tell = write!(std::io::stderr().lock(), "{error}\n{}", usage());
    } else {
        log_to_stderr(|| tracing::error!(%error, "failed to verify flags"));
    }
    ExitCode::from(error.exit_code())
}

/// Says how the program is called; the exit status of a command line that cannot be read.
pub fn misused(usage: &str) -> ExitCode {
    let _nobody_to_tell = std::io::stderr().lock().write_all(usage.as_bytes());
    ExitCode::from(2)
}

/// Says in one line of the log why the program cannot start.
pub fn fail(reason: &str) -> ExitCode {
    log_to_stderr(|| tracing::error!(error = reason, "the program cannot start"));
    ExitCode::FAILURE
}

/// For lines before, or without, the logs that the configuration asks for.
fn log_to_stderr(line: impl FnOnce()) {
    let outputs = vec![LogOutput::Stderr];
    let config = LogConfig { level: LogLevel::Info, format: LogFormat::Json, outputs };
    if let Ok(logging) = logging::start(&config) {
        tracing::subscriber::with_default(logging.subscriber, line);
    }
}
