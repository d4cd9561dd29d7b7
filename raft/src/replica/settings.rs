//! How a replica behaves.

use std::time::Duration;

use vetch_storage::NodeId;

/// How a replica behaves; all resolved, nothing left to default here.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This member, when the data directory is fresh; one that has an identity keeps it.
    pub id: NodeId,
    /// Period of heartbeats.
    pub heartbeat_interval: Duration,
    /// How long without a leader until there should be a new one.
    pub election_timeout: Duration,
    /// Longest wait of a proposal or read index: etcd's 5 s + 2 × election timeout.
    pub request_timeout: Duration,
    /// Applied entries between two checkpoints.
    pub checkpoint_entries: u64,
    /// Log entries kept behind a checkpoint for slow followers.
    pub catchup_entries: u64,
    /// Proposals that may wait at once, in number and in bytes; beyond it they are refused.
    pub max_inflight_proposals: usize,
    /// See above.
    pub max_inflight_bytes: usize,
    /// How a leader makes sure, for a linearizable read, that it still leads.
    pub read_mode: ReadMode,
}

/// How a leader makes sure, for a linearizable read, that it still leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadMode {
    /// A quorum confirms it, after the read has come (Raft dissertation, section 6.4). Relies on no
    /// clock.
    #[default]
    ReadIndex,
    /// A quorum confirmed it so lately that none of them may have let another lead since (section
    /// 6.4.1); without such a confirmation, or while a voter is set otherwise, as `ReadIndex`.
    ///
    /// Linearizable as long as no member's monotonic clock runs slower than another's by more than a
    /// quarter, and none stands still while the others' go on, as that of a suspended virtual machine
    /// does. A process that is merely stopped is no danger: its clock goes on.
    LeaderLease,
}

#[cfg(test)]
impl Settings {
    /// Quick ones.
    pub(crate) fn for_tests() -> Self {
        Self {
            id: NodeId(7),
            heartbeat_interval: Duration::from_millis(100),
            election_timeout: Duration::from_secs(1),
            request_timeout: Duration::from_secs(7),
            checkpoint_entries: 10_000,
            catchup_entries: 5_000,
            max_inflight_proposals: 5_000,
            max_inflight_bytes: 64 << 20,
            read_mode: ReadMode::ReadIndex,
        }
    }
}
