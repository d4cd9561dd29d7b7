//! Multi-version records: which key had which value at which revision.
//!
//! - [`index`]: the current record of every key, in memory, counted and copy-on-write.
//! - [`key_range`]: etcd's `key`/`range_end` convention.

pub mod index;
pub mod key_range;
