//! The embedded key-value store under the state machine.
//!
//! - [`mem`]: in memory, with a live and a durable image; for tests and the simulator.
//! - [`fjall`]: the default on disk.
//! - `failing`: around any of them, with errors on demand; for tests.
//! - `sled`: the second, chosen with `--storage-engine=sled`.

use std::ops::Bound;

use bytes::Bytes;

use crate::error::Fatal;
use crate::types::LogIndex;

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod durable_mark;
#[cfg(any(test, feature = "testing"))]
pub mod failing;
pub mod fjall;
pub mod mem;
mod poison;
#[cfg(feature = "sled")]
pub mod sled;

/// A separate key space. One batch may change several of them atomically.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Every stored version of every key, a key's versions together, newest first.
    Versions,
    /// Every change by revision.
    Revisions,
    /// All the rest of the replicated state: applied id, compaction marks, digest, leases, alarms,
    /// members, auth. Small.
    State,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 3] = [Self::Versions, Self::Revisions, Self::State];

    /// The family's place in [`ALL`](Self::ALL).
    pub(crate) const fn slot(self) -> usize {
        self as usize
    }
}

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Store `value` under `key`.
    Put {
        /// Where.
        family: Family,
        /// At most [`MAX_KEY_BYTES`].
        key: Bytes,
        /// Any length below 4 GiB.
        value: Bytes,
    },
    /// Remove `key`; removing nothing is fine.
    Delete {
        /// Where.
        family: Family,
        /// The key.
        key: Bytes,
    },
}

/// The longest key an engine must take. The schema keeps within it by hashing and splitting. The
/// empty key is not a key: no engine takes it.
pub const MAX_KEY_BYTES: usize = 60 * 1024;

/// Changes that become visible together, and after a crash exist together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// In order: a later change of the same key wins.
    pub changes: Vec<Change>,
    /// The log position the state has reached with this batch; `None` for background deletions that
    /// no log entry stands for.
    pub applied: Option<LogIndex>,
}

/// Ascending or descending key order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Smallest key first.
    Ascending,
    /// Largest key first.
    Descending,
}

/// The keys a scan covers.
pub type Bounds = (Bound<Bytes>, Bound<Bytes>);

/// How an engine on disk is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes for caches and write buffers together. The write buffers' share is fixed when the
    /// directory is created; the caches' follows every open.
    pub memory_budget: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { memory_budget: 96 << 20 }
    }
}

/// Whether no key can be inside: the start is above the end, or they meet with one of them excluded.
pub(crate) fn covers_nothing(bounds: &Bounds) -> bool {
    match bounds {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (Bound::Included(start) | Bound::Excluded(start), Bound::Excluded(end))
        | (Bound::Excluded(start), Bound::Included(end)) => start >= end,
    }
}

/// Pairs of a scan, in the order asked for. Ends after the first error.
pub type Scan<'a> = Box<dyn Iterator<Item = Result<(Bytes, Bytes), Fatal>> + Send + 'a>;

/// How large the store is, in bytes. None is ever negative or estimated from the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes that live data occupies.
    pub live: u64,
    /// Bytes of all files.
    pub on_disk: u64,
}

/// How much one call of background work may do.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Bytes to read or rewrite, approximately.
    pub bytes: u64,
}

/// An ordered, crash-safe key-value store.
///
/// **Contract:** `apply` is atomic and visible at once, not durable; one caller at a time applies the
/// log, and background deletions, which leave the applied position as it is, may be applied beside it.
/// `persist` makes everything applied before its call durable and says up to which log position; a
/// state that has lost some of that is refused when it is opened. A scan shows every key that was
/// there when the scan was made and is still there when it comes by; what a later batch changes
/// shows or not. A byte that changed at rest is reported as [`Fatal::Corrupt`] where the engine can
/// tell; the schema's own checksums catch the rest. After any [`Fatal`] the engine refuses further
/// writes.
pub trait Engine: Send + Sync + 'static {
    /// Makes a batch visible, atomically.
    fn apply(&self, batch: Batch) -> Result<(), Fatal>;
    /// Adds pairs in strictly ascending order of their keys, all of them behind every key the family
    /// holds. For filling an engine that nobody uses yet, as fast and with as little writing as it can:
    /// a crash may leave any part of them. Moves no position; durable after the next `persist`.
    ///
    /// # Panics
    /// When the keys do not ascend.
    fn load(&self, family: Family, pairs: Vec<(Bytes, Bytes)>) -> Result<(), Fatal> {
        assert!(pairs.is_sorted_by(|(a, _), (b, _)| a < b), "loaded keys ascend");
        let put = |(key, value)| Change::Put { family, key, value };
        self.apply(Batch { changes: pairs.into_iter().map(put).collect(), applied: None })
    }
    /// Reads one key.
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, Fatal>;
    /// Reads a range of keys in order.
    fn scan(&self, family: Family, bounds: Bounds, order: Order) -> Scan<'_>;
    /// Makes durable all that was applied before the call; returns the log position that is now on
    /// disk. Slow; may be called from any thread while others apply and read.
    fn persist(&self) -> Result<LogIndex, Fatal>;
    /// The log position of the newest applied batch.
    fn applied(&self) -> LogIndex;
    /// Sizes now; cheap.
    fn sizes(&self) -> Sizes;
    /// Does a bounded piece of background work (reclaiming space); `true` while more is left.
    fn maintain(&self, budget: Budget) -> Result<bool, Fatal>;
    /// Whether the next `apply` may have to wait for background work. Who writes much waits before it,
    /// where waiting holds up nobody else; it ends by itself.
    fn is_congested(&self) -> bool {
        false
    }
}
