//! Why the disk refused.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use vetch_storage::Fatal;

/// What the disk was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Opening or creating a file.
    Create,
    /// Writing bytes.
    Write,
    /// Making written bytes durable.
    Sync,
    /// Making the directory durable.
    SyncDirectory,
    /// Renaming a file.
    Rename,
    /// Deleting a file.
    Remove,
    /// Reading bytes.
    Read,
    /// Listing the directory.
    List,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::SyncDirectory => "sync directory",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::Read => "read",
            Self::List => "list",
        })
    }
}

/// A failure of the disk; clones go to everyone who waits for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// The operating system's refusal.
    #[error("cannot {operation} {path}: {message}", path = path.display())]
    Io {
        /// What was tried.
        operation: Operation,
        /// On which file or directory.
        path: PathBuf,
        /// The class of the refusal.
        kind: io::ErrorKind,
        /// The operating system's words.
        message: String,
    },
    /// The disk was closed before it came to this operation.
    #[error("the log's disk is closed")]
    Closed,
}

impl DiskError {
    pub(crate) fn io(operation: Operation, path: &Path, error: &io::Error) -> Self {
        let (kind, message) = (error.kind(), error.to_string());
        Self::Io { operation, path: path.to_owned(), kind, message }
    }

    /// Whether the device or quota is full: the remedy is to free space.
    pub fn is_no_space(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::Io { kind: StorageFull | QuotaExceeded, .. })
    }
}

impl From<DiskError> for Fatal {
    fn from(error: DiskError) -> Self {
        let no_space = error.is_no_space();
        match error {
            DiskError::Io { operation, path, message, .. } => {
                Self::Io { path, message: format!("cannot {operation}: {message}"), no_space }
            }
            DiskError::Closed => {
                let message = "closed while operations were waiting".to_owned();
                Self::Io { path: PathBuf::from("log"), message, no_space }
            }
        }
    }
}
