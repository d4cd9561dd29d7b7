//! Why the log cannot be opened, read or written.

use std::io;
use std::path::PathBuf;

use vetch_storage::Fatal;

use crate::disk::DiskError;
use crate::types::cause::into_io;

/// Stored bytes are not what was written, and no crash explains it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the Raft log is damaged: {file} at offset {offset}: expected {expected}, found {found}; nothing \
     was changed: restore this member from a snapshot or from its peers",
    file = file.display()
)]
pub struct Corrupt {
    /// The damaged file.
    pub file: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// What had to be there.
    pub expected: String,
    /// What was there.
    pub found: String,
}

/// A reason for the node to stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The disk gave back something else.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// Entries were given out of order: a bug above the log.
    #[error("entry {found} cannot follow {last:?}: the log has no holes")]
    Hole {
        /// The last entry's index, if there is one.
        last: Option<u64>,
        /// The index that was given.
        found: u64,
    },
}

impl From<LogError> for Fatal {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Disk(error) => error.into(),
            LogError::Corrupt(Corrupt { file, offset, expected, found }) => {
                let location = format!("{} at offset {offset}", file.display());
                Self::Corrupt { location, expected, found }
            }
            LogError::Hole { last, found } => Self::Corrupt {
                location: "the log's memory".to_owned(),
                expected: format!("an entry after {last:?}"),
                found: format!("entry {found}"),
            },
        }
    }
}

/// For openraft's storage traits, with the reason inside.
impl From<LogError> for io::Error {
    fn from(error: LogError) -> Self {
        into_io(error.into())
    }
}
