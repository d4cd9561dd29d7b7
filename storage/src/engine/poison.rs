//! The memory of an engine's first failure.

use std::sync::OnceLock;

use crate::error::Fatal;

/// Set once by the first failure; from then on writes are refused with it.
#[derive(Debug, Default)]
pub(super) struct Poison(OnceLock<Fatal>);

impl Poison {
    /// Refuses if there was a failure.
    pub(super) fn check(&self) -> Result<(), Fatal> {
        match self.0.get() {
            Some(fatal) => Err(fatal.clone()),
            None => Ok(()),
        }
    }

    /// Notes a failure, keeping the first; gives back the new one.
    pub(super) fn set(&self, fatal: Fatal) -> Fatal {
        self.0.get_or_init(|| fatal.clone());
        fatal
    }
}
