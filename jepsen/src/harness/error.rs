//! Why a run could not be carried out. What a run found out is a finding, not an error.

use std::path::PathBuf;

/// The harness itself failed, or the server under test did what leaves nothing to judge.
#[derive(Debug, thiserror::Error)]
pub enum HarnessError {
    /// A file or process could not be handled.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The server exited when it should have served.
    #[error("the server exited with {status}; its log {log:?} ends:\n{tail}")]
    Exited {
        /// Exit status.
        status: std::process::ExitStatus,
        /// Where it wrote its log.
        log: PathBuf,
        /// The end of that.
        tail: String,
    },
    /// The server neither served nor exited in time.
    #[error("the server did not {what} within {seconds} s; its log {log:?} ends:\n{tail}")]
    TimedOut {
        /// What it should have done.
        what: &'static str,
        /// The deadline.
        seconds: u64,
        /// Where it wrote its log.
        log: PathBuf,
        /// The end of that.
        tail: String,
    },
    /// An operation that had to succeed did not.
    #[error("{what}: {status}")]
    Refused {
        /// The operation.
        what: String,
        /// The server's answer.
        status: Box<tonic::Status>,
    },
}

impl HarnessError {
    /// For `map_err` on file and process operations.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// For `map_err` on calls.
    pub(crate) fn refused(what: impl Into<String>) -> impl FnOnce(tonic::Status) -> Self {
        let what = what.into();
        move |status| Self::Refused { what, status: Box::new(status) }
    }
}
