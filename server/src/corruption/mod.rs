//! The members' stored histories, held against each other by `HashKV`.
//!
//! What members make of the log is compared all the time (`vetch_raft`'s `compare`). What their disks have
//! lost or changed since, without a checksum that tells, is in no running digest: it is found by reading
//! everything again, which is why somebody has to ask for it.
//!
//! - `judge`: who is right, on plain data. `look`: one comparison of all members
//! - `periodic`: by the leader, with `--corrupt-check-time`, and of compactions with the gate
//!   `CompactHashCheck`. `initial`: before a member serves, with the gate `InitialCorruptCheck`

mod initial;
mod judge;
mod look;
mod periodic;

pub(crate) use initial::check as check_before_serving;
pub(crate) use periodic::{check_compactions, check_histories};
