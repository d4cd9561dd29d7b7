//! How much may wait: a bound on proposals in flight, in number and in bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bound and what is taken of it.
#[derive(Debug)]
pub(crate) struct Admission {
    max_count: usize,
    max_bytes: usize,
    count: AtomicUsize,
    bytes: AtomicUsize,
}

/// One proposal's place; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    bytes: usize,
}

impl Admission {
    pub(crate) fn new(max_count: usize, max_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            max_count,
            max_bytes,
            count: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
        })
    }

    /// A place for a proposal of `bytes`, or `None` while too many or too large ones wait. A
    /// proposal larger than the whole bound is let in alone.
    pub(crate) fn admit(self: &Arc<Self>, bytes: usize) -> Option<Permit> {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let held = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        // From here on the permit's drop takes both back.
        let permit = Permit { admission: Arc::clone(self), bytes };
        let fits = count < self.max_count && (held == 0 || held + bytes <= self.max_bytes);
        fits.then_some(permit)
    }

    /// Proposals in flight.
    pub(crate) fn pending(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.count.fetch_sub(1, Ordering::Relaxed);
        self.admission.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bounds_hold_and_places_come_back() {
        let admission = Admission::new(2, 100);
        let first = admission.admit(60).unwrap();
        assert!(admission.admit(41).is_none(), "over the bytes");
        let second = admission.admit(40).unwrap();
        assert!(admission.admit(0).is_none(), "over the count");
        assert_eq!(admission.pending(), 2);
        drop((first, second));
        assert_eq!(admission.pending(), 0);
        assert!(admission.admit(100).is_some());
    }

    #[test]
    fn one_oversized_proposal_passes_alone() {
        let admission = Admission::new(10, 100);
        let large = admission.admit(500).unwrap();
        assert!(admission.admit(1).is_none());
        drop(large);
        assert!(admission.admit(1).is_some());
    }
}
