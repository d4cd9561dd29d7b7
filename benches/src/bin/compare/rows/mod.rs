//! The rows, by what they load.
//!
//! - [`put`], [`txn`], [`get`], [`keepalive`]: closed loops.
//! - [`watch`]: many watchers of one key. [`leases`]: many leases due at once.
//! - [`three`]: closed loops on three members. [`kill`]: their leader is killed. [`join`]: they are
//!   joined by a fourth.
//! - [`big`]: everything on the store of a million keys; [`range`] and [`gaps`] are its parts.

pub(crate) mod big;
pub(crate) mod gaps;
pub(crate) mod get;
pub(crate) mod join;
pub(crate) mod keepalive;
pub(crate) mod kill;
pub(crate) mod leases;
pub(crate) mod put;
pub(crate) mod putter;
pub(crate) mod range;
pub(crate) mod three;
pub(crate) mod txn;
pub(crate) mod watch;
