//! Tests of the machine, one per statement about etcd's behaviour; the name says which.

mod alarms;
mod compaction;
mod events;
mod hash;
mod leases;
mod range;
mod recovery;
mod revisions;
mod rig;
mod txn;
