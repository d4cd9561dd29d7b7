//! fjall's errors as the engine's.

use std::path::Path;

use ::fjall::{Error, LsmError};

use super::{damage, layout};
use crate::error::Fatal;

/// Why the engine failed, as precisely as its files tell.
pub(super) fn to_fatal(path: &Path, doing: &str, error: Error) -> Fatal {
    let is_locked = matches!(error, Error::Locked);
    let fatal = as_told(path, doing, error);
    if is_locked || matches!(&fatal, Fatal::Io { no_space: true, .. }) {
        return fatal;
    }
    match damage::find(path) {
        Err(found) => found,
        Ok(()) => fatal,
    }
}

/// Why the engine failed, as fjall says it.
#[expect(clippy::wildcard_enum_match_arm, reason = "fjall's enums are open")]
fn as_told(path: &Path, doing: &str, error: Error) -> Fatal {
    let corrupt = |expected: String, found: String| Fatal::Corrupt {
        location: format!("{} ({doing})", path.display()),
        expected,
        found,
    };
    let io = |message: &str| Fatal::Io {
        path: path.to_owned(),
        message: format!("{doing}: {message}"),
        no_space: layout::disk_is_full(path),
    };
    match error {
        Error::Io(error) | Error::Storage(LsmError::Io(error)) => Fatal::io(path, doing, &error),
        Error::Storage(LsmError::ChecksumMismatch { got, expected }) => {
            corrupt(format!("checksum {expected:?}"), format!("{got:?}"))
        }
        // fjall's background writer tells the reason to its log alone; a full disk is the one a
        // person can mend, so look.
        Error::Poisoned => io("an earlier write or flush of the engine failed"),
        Error::Locked => layout::locked(path),
        other => corrupt("a readable database".to_owned(), other.to_string()),
    }
}
