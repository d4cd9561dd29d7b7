//! Why a replica did not start, and why a request has no answer.

use std::path::PathBuf;

use vetch_storage::{Fatal, LogIndex};

use super::compare::remedy;
use crate::manifest::ManifestError;

/// Why a replica did not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Log or engine cannot be trusted or read.
    #[error(transparent)]
    Fatal(#[from] Fatal),
    /// The engine lacks entries that the log no longer has.
    #[error(
        "the engine in {data_dir} has applied {applied}, but its log begins at {first}: entries \
         between are lost; restore this member from a snapshot or from its peers"
    )]
    Gap {
        /// The member's directory.
        data_dir: String,
        /// What the engine has.
        applied: LogIndex,
        /// What the log has.
        first: LogIndex,
    },
    /// The log ends before what the engine has applied: it was removed, replaced or cut.
    #[error(
        "the engine in {data_dir} has applied {applied}, but its log ends at {last}: the log is not \
         the one this engine was written from; restore its wal folder, or this member from a snapshot"
    )]
    LogLost {
        /// The member's directory.
        data_dir: String,
        /// What the engine has.
        applied: LogIndex,
        /// Where the log ends.
        last: LogIndex,
    },
    /// The data directory's member was removed from its cluster; its id never comes back.
    #[error(
        "the member has been permanently removed from the cluster: remove its data directory, and add \
         it again, under a new id"
    )]
    Removed,
    /// The member's state was found to be another than its cluster's.
    #[error("{what}; it does not start again: {}", remedy::replace_it(.data_dir))]
    Diverged {
        /// The member's directory.
        data_dir: String,
        /// Where it was seen.
        what: String,
    },
    /// The data directory is not one this member can run on.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A directory could not be made, or its lock not be taken.
    #[error("cannot prepare {path}: {message}", path = path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// The operating system's words.
        message: String,
    },
    /// Timeouts that contradict each other.
    #[error("settings cannot be met: {0}")]
    Settings(String),
}

/// Why a proposal has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProposeError {
    /// Too many or too large proposals are waiting. It never entered the log.
    #[error("too many proposals in flight")]
    TooManyRequests,
    /// No leader took it in time, or not in the term asked for. It never entered the log.
    #[error("no leader")]
    NoLeader,
    /// It entered the log but was not applied in time. It **may still be applied**.
    #[error("timed out")]
    TimedOut,
    /// As `TimedOut`, and leadership changed meanwhile, or the state of a peer took the place of the log
    /// that would have told. It **may still be applied**, or may have been.
    #[error("timed out around a leader change")]
    TimedOutLeaderChanged,
    /// The node is stopping. It **may still be applied** after the restart.
    #[error("stopped")]
    Stopped,
}

/// Why there is no read index.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadIndexError {
    /// Leadership changed while waiting.
    #[error("leader changed")]
    LeaderChanged,
    /// No quorum confirmed it in time.
    #[error("timed out")]
    TimedOut,
    /// The node is stopping.
    #[error("stopped")]
    Stopped,
}
