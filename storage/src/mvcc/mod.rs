//! Multi-version records: which key had which value at which revision.
//!
//! - [`index`]: the current record of every key, in memory, counted and copy-on-write.
//! - [`key_range`]: etcd's `key`/`range_end` convention.
//! - `reader`: one consistent state to read from, open writes included.
//! - `range`: Range requests: selection, order, encoding.
//! - `txn`: the path of a transaction and the checks before its first operation.
//! - `wire`: the canonical encoding of a record.
//! - `write`: one revision in the making.
//! - `history`: events of past revisions.
//! - `hash`: `HashKV`.
//! - `combine`: the CRC-32C of a concatenation from those of its parts.
//! - `compaction`: deletion of what no reader can ask for any more.

pub(crate) mod combine;
pub(crate) mod compaction;
pub(crate) mod hash;
pub(crate) mod history;
pub mod index;
pub mod key_range;
pub(crate) mod range;
pub(crate) mod reader;
pub(crate) mod txn;
pub(crate) mod wire;
pub(crate) mod write;

pub use txn::{TxnFault, check_txn};

/// Bytes a version of a key is counted as: its key in both families, its value, and a constant for
/// revisions, lengths and checksums.
///
/// Sums of this are exact and equal on all members, follow deletion at once, and do not depend on how
/// an engine happens to have packed its files.
pub(crate) fn footprint(key_len: usize, value_len: usize) -> u64 {
    const OVERHEAD: u64 = 48;
    2 * key_len as u64 + value_len as u64 + OVERHEAD
}
