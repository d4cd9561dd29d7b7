//! What is logged, how, and where to.

use std::path::PathBuf;

/// `--log-level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// The usual.
    Info,
    /// What needs attention.
    Warn,
    /// What failed; also for etcd's `panic` and `fatal`.
    Error,
}

/// `--log-format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// Tab-separated, for eyes.
    Console,
}

/// One of `--log-outputs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogOutput {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// A file, appended to.
    File(PathBuf),
}

/// Logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Least level that is logged.
    pub level: LogLevel,
    /// Form of the lines.
    pub format: LogFormat,
    /// Every line goes to each of these.
    pub outputs: Vec<LogOutput>,
}
