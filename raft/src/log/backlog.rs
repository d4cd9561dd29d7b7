//! What was handed to the log's disk, and what of it is done.

use std::sync::atomic::{AtomicU64, Ordering};

/// Two counters, which no lock and no clock belong to: whoever looks at them from time to time, on its
/// own clock, sees for how long nothing has come back.
#[derive(Debug, Default)]
pub struct Backlog {
    submitted: AtomicU64,
    done: AtomicU64,
}

impl Backlog {
    pub(super) fn submit(&self) {
        self.submitted.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn done(&self) {
        self.done.fetch_add(1, Ordering::AcqRel);
    }

    /// How many writes have come back, and how many are under way.
    pub fn look(&self) -> (u64, u64) {
        // In this order: what comes back in between must not have been submitted after the look.
        let done = self.done.load(Ordering::Acquire);
        (done, self.submitted.load(Ordering::Acquire) - done)
    }
}
