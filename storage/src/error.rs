//! What can go wrong, in two kinds that never mix: a client's answer, and a reason to stop.

use std::io;
use std::path::{Path, PathBuf};

use crate::types::{LeaseId, Revision};

/// A deterministic refusal: every replica gives the same one for the same log, so it is an answer.
/// `server`'s `rpc::status` maps each to etcd's code and text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// A read, hash or compaction below the compacted revision, or a repeated compaction.
    #[error("revision is compacted; oldest readable revision is {compact_revision}")]
    Compacted {
        /// The last compacted revision: itself still readable.
        compact_revision: Revision,
    },
    /// A read, hash or compaction above the current revision.
    #[error("revision is in the future; current revision is {current}")]
    FutureRevision {
        /// The store's revision.
        current: Revision,
    },
    /// `ignore_value` or `ignore_lease` on a missing key, or a request op with an empty union.
    #[error("key not found")]
    KeyNotFound,
    /// A put, revoke or checkpoint that names an unknown lease.
    #[error("lease {0} not found")]
    LeaseNotFound(LeaseId),
    /// A grant with an id in use.
    #[error("lease {0} exists")]
    LeaseExists(LeaseId),
    /// The NOSPACE alarm is active and the command would grow the store.
    #[error("NOSPACE alarm is active")]
    NoSpace,
    /// The CORRUPT alarm is active.
    #[error("CORRUPT alarm is active")]
    Corrupt,
    /// The leader that sent this expiry is no longer the leader of the entry's term.
    #[error("expiry decided in another term")]
    StaleTerm,
}

/// The node must stop: going on could turn a damaged disk into an answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Fatal {
    /// The operating system refused a read or write of the engine's files.
    #[error("I/O error at {path}: {message}; check the disk and its free space, then restart")]
    Io {
        /// The file or directory, as precisely as it is known.
        path: PathBuf,
        /// The operating system's words.
        message: String,
        /// Whether the device was full: the remedy is to free space.
        no_space: bool,
    },
    /// Stored bytes are not what was written.
    #[error(
        "corrupt data in {location}: expected {expected}, found {found}; nothing was removed: restore \
         this member from a snapshot or from its peers"
    )]
    Corrupt {
        /// File, family and key or offset.
        location: String,
        /// What had to be there.
        expected: String,
        /// What was there.
        found: String,
    },
}

impl Fatal {
    /// An error of the operating system; `doing` says what was tried on `path`.
    pub fn io(path: &Path, doing: &str, error: &io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            message: format!("{doing}: {error}"),
            no_space: is_no_space(error),
        }
    }
}

/// Whether an error means that the device is full.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Why a read from a view failed: either an answer or a reason to stop.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The client's answer.
    #[error(transparent)]
    Refused(#[from] ApplyError),
    /// The node must stop.
    #[error(transparent)]
    Fatal(#[from] Fatal),
}
