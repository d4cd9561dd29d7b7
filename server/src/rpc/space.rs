//! What the disk still takes: growth is refused before it is full, so that reads, deletions and
//! compaction go on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Bytes on disk that a byte of growth may come to need: in the log, the engine's journal and tables.
const AMPLIFICATION: u64 = 3;
/// Growth is refused when less than the reserve and this part of it is free: what may be admitted
/// until the next measurement would soon be less than a request.
const REFUSE_SHARE: u64 = 8;
/// Growth resumes when the reserve and this part of it are free.
const RESUME_SHARE: u64 = 4;
/// The reserve of a large disk: a log segment, an engine's journal, and tables being written.
const LARGEST_RESERVE: u64 = 192 << 20;
/// The reserve of a small disk: this part of it.
const RESERVE_SHARE: u64 = 20;

/// What may still be written. Unbounded until it is measured.
///
/// **Invariant:** between two measurements no more growth is admitted than fits above the reserve, if
/// nobody else writes to the disk.
#[derive(Debug)]
pub struct Space {
    allowance: AtomicU64,
    low: AtomicBool,
}

/// What a measurement changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Same,
    /// Growth is refused from now on.
    Low,
    /// Growth is admitted again.
    Enough,
}

impl Default for Space {
    fn default() -> Self {
        Self { allowance: AtomicU64::new(u64::MAX), low: AtomicBool::new(false) }
    }
}

impl Space {
    /// What is kept free of a disk of `total` bytes.
    pub fn reserve(total: u64) -> u64 {
        (total / RESERVE_SHARE).min(LARGEST_RESERVE)
    }

    /// Whether the disk may be asked for `cost` bytes more; they are taken then.
    pub fn admits(&self, cost: u64) -> bool {
        let take = |allowance: u64| allowance.checked_sub(cost);
        !self.is_low()
            && self.allowance.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_ok()
    }

    /// Whether growth is refused.
    pub fn is_low(&self) -> bool {
        self.low.load(Ordering::Acquire)
    }

    /// Takes note of a disk of `total` bytes with `free` ones.
    pub fn measured(&self, free: u64, total: u64) -> Change {
        let reserve = Self::reserve(total);
        let above = free.saturating_sub(reserve);
        let was_low = self.is_low();
        let share = if was_low { RESUME_SHARE } else { REFUSE_SHARE };
        let is_low = above < reserve / share;
        self.allowance.store(above / AMPLIFICATION, Ordering::Release);
        self.low.store(is_low, Ordering::Release);
        match (was_low, is_low) {
            (false, true) => Change::Low,
            (true, false) => Change::Enough,
            (true, true) | (false, false) => Change::Same,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn growth_is_refused_before_the_reserve_and_resumes_well_above_it() {
        let space = Space::default();
        assert!(space.admits(u64::MAX / 2), "nothing is known yet");
        let total = 1000 * MIB;
        let reserve = Space::reserve(total);
        assert_eq!(reserve, 50 * MIB);
        assert_eq!(space.measured(reserve + 7 * MIB, total), Change::Same);
        assert_eq!(space.measured(reserve + 6 * MIB, total), Change::Low);
        assert!(!space.admits(1));
        assert_eq!(space.measured(reserve + 12 * MIB, total), Change::Same);
        assert!(!space.admits(1), "too little to resume");
        assert_eq!(space.measured(reserve + 13 * MIB, total), Change::Enough);
        assert!(space.admits(1));
    }

    #[test]
    fn no_more_is_admitted_than_was_measured() {
        let space = Space::default();
        space.measured(80 * MIB, 1000 * MIB);
        let admitted = (0..1000).filter(|_| space.admits(MIB)).count();
        assert_eq!(admitted, 10);
        assert!(!space.is_low(), "the next measurement decides");
    }

    #[test]
    fn a_large_disk_keeps_a_bounded_reserve() {
        assert_eq!(Space::reserve(1 << 40), LARGEST_RESERVE);
    }
}
