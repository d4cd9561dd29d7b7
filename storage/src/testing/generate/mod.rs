//! Random input for state machines: few keys and leases, so that requests meet, and every oddity a
//! request may have.
//!
//! - `log`: logs of entries.
//! - `request`: the requests in them, and reads.
//!
//! Strategies give drafts, in which a revision above 0 is counted back from the future: 1 is the one
//! after the current, 2 the current, 3 the one before it. [`settle_range`] and [`logs`] turn them into
//! revisions of a store, so that a log of any length asks for revisions that are just compacted, just
//! current or just to come.

mod log;
mod request;

pub use log::{LogEntry, Logged, logs};
pub use request::{
    any_txns, deletes, keys, puts, range_requests, ranges, read_txns, settle_range, settle_txn,
};
