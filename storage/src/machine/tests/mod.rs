//! Tests of the machine, one per statement about etcd's behaviour; the name says which.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test panics on every answer but the one it expects"
)]

mod alarms;
mod compaction;
mod events;
mod hash;
mod leases;
mod range;
mod recovery;
mod revisions;
mod rig;
mod snapshots;
mod txn;
