//! The state as a database file of etcd's: what `etcdctl snapshot save` gets, `etcdutl` checks and
//! restores, and real etcd starts on.
//!
//! - [`buckets`]: what is in which bucket, in the order the file needs.
//! - [`page`]: the pages of a bbolt file.
//! - [`bbolt`]: writes such a file in one pass over sorted keys.
//! - [`mod@export`]: the whole file, spooled, ready to be sent.
//! - [`mod@hash`]: etcd's Hash, over the same buckets.

pub mod bbolt;
pub mod buckets;
pub mod export;
pub mod hash;
pub mod page;

pub use export::{SnapshotFile, export};
pub use hash::hash;
