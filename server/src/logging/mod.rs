//! Logs: one JSON object per line with zap's keys, as etcd's.
//!
//! **Invariant:** logging never waits for a sink. Lines go through a bounded queue to a thread; what
//! does not fit is dropped and counted, and the count is logged once there is room again.

mod fields;
mod format;
mod start;
mod writer;

pub use start::{LogError, Logging, start};
pub use writer::{LineQueue, LogWriter};
