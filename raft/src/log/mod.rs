//! The Raft log on disk: what was acknowledged is here, or this member does not start.
//!
//! A directory of segments `<epoch>.log`, each a header and records. One queue orders
//! everything: entries, votes, truncations and purges are records of the same stream, so recovery is
//! a replay, and a later record's presence says that earlier ones were written. `recovery` knows which damage a
//! crash can cause and refuses any other.

mod backlog;
pub(crate) mod codec;
mod error;
mod index;
pub mod reader;
mod record;
mod recovery;
mod segment;
mod store;
mod writer;

pub use backlog::Backlog;
pub use error::{Corrupt, LogError};
pub use store::LogStore;

/// How the log is laid out and what it keeps in memory.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_field_names, reason = "the unit belongs to each name")]
pub struct LogOptions {
    /// Bytes of a segment. A record larger than this gets a segment of its own size.
    pub segment_bytes: u64,
    /// Bytes of recent entries kept in memory; older ones are read from their segments.
    pub tail_bytes: usize,
    /// Bytes of entries that one read for a peer or for apply takes at most.
    pub read_bytes: usize,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, tail_bytes: 32 << 20, read_bytes: 1 << 20 }
    }
}

#[cfg(test)]
mod tests;
