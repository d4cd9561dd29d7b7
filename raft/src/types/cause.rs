//! How this node's own errors travel through openraft and come out whole.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use openraft::errors::ErrorSource;
use vetch_storage::Fatal;

/// The reason of a storage error inside openraft.
///
/// openraft knows storage errors as [`io::Error`]; log and state machine wrap their [`Fatal`] in one
/// with [`into_io`], and [`Cause`] takes it out again, so that the node's last message still names
/// file, offset and remedy.
#[derive(Clone, Debug)]
pub struct Cause(Fatal);

/// Wraps a fatal error for openraft's storage traits.
pub fn into_io(fatal: Fatal) -> io::Error {
    io::Error::other(fatal)
}

impl Cause {
    /// The error, as it was raised.
    pub fn fatal(&self) -> &Fatal {
        &self.0
    }

    /// The fatal error somewhere inside `error`; its text alone when there is none.
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            if let Some(cause) = error.downcast_ref::<Self>() {
                return cause.clone();
            }
            if let Some(fatal) = error.downcast_ref::<Fatal>() {
                return Self(fatal.clone());
            }
            if let Some(fatal) = wrapped.and_then(|inner| inner.downcast_ref::<Fatal>()) {
                return Self(fatal.clone());
            }
            next = error.source();
        }
        Self::of_text(error.to_string())
    }

    fn of_text(message: String) -> Self {
        Self(Fatal::Io { path: PathBuf::from("data directory"), message, no_space: false })
    }
}

impl From<Fatal> for Cause {
    fn from(fatal: Fatal) -> Self {
        Self(fatal)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Error for Cause {}

impl PartialEq for Cause {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_string() == other.0.to_string()
    }
}

impl Eq for Cause {}

impl ErrorSource for Cause {
    fn from_error<E: Error + 'static>(error: &E) -> Self {
        Self::of(error)
    }

    fn from_string(msg: impl ToString) -> Self {
        Self::of_text(msg.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fatal_error_comes_out_as_it_went_in() {
        let fatal = Fatal::Corrupt {
            location: "wal/0001, offset 4096".into(),
            expected: "crc 1".into(),
            found: "crc 2".into(),
        };
        let cause = Cause::from_error(&into_io(fatal.clone()));
        assert_eq!(cause.to_string(), fatal.to_string());
        assert!(matches!(cause.fatal(), Fatal::Corrupt { .. }));
    }

    #[test]
    fn a_plain_io_error_keeps_its_text() {
        let cause = Cause::from_error(&io::Error::other("disk on fire"));
        assert!(cause.to_string().contains("disk on fire"));
    }
}
