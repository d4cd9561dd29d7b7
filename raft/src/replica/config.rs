//! Our settings as openraft's configuration.

use std::sync::Arc;
use std::time::Duration;

use openraft::{Config, ConfigError, SnapshotPolicy};

use super::{ReadMode, Settings};

/// Feeding a peer a whole state may take long; it is no reason to give up on it.
const INSTALL_SNAPSHOT_TIMEOUT: Duration = Duration::from_mins(10);

/// The mapping. etcd's election timeout E is when a follower starts to campaign at the earliest;
/// openraft's is the wait of a follower on top of the leader's lease, so that 0.3 E to 0.6 E of
/// openraft's bring a new leader within about E.
///
/// `holds`: it may not campaign yet.
pub(super) fn raft_config(settings: &Settings, holds: bool) -> Result<Arc<Config>, ConfigError> {
    let election = millis(settings.election_timeout);
    let election_min = shortest_wait(settings);
    let config = Config {
        cluster_name: "vetch".to_owned(),
        heartbeat_interval: longest_round_trip(settings),
        election_timeout_min: election_min,
        election_timeout_max: (election * 6 / 10).max(election_min + 1),
        install_snapshot_timeout: millis(INSTALL_SNAPSHOT_TIMEOUT),
        // Our checkpoints decide what is a snapshot and when; see `checkpoint`.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: settings.catchup_entries,
        enable_elect: !holds,
        enable_pre_vote: Some(true),
        // The state machine is not flushed before it answers, so a restarted leader must be elected
        // anew: only its first entry tells it what was committed.
        enable_leader_restore: Some(false),
        ..Config::default()
    };
    config.validate().map(Arc::new)
}

/// The shortest wait of a follower, in milliseconds: from its last word of a leader until it campaigns or
/// lets another.
fn shortest_wait(settings: &Settings) -> u64 {
    let heartbeat = millis(settings.heartbeat_interval).max(1);
    (millis(settings.election_timeout) * 3 / 10).max(heartbeat + 1)
}

/// How long an answer to a heartbeat is waited for, in milliseconds; the next one waits for it. openraft
/// has no other name for it than the interval of heartbeats, whose pace is kept by `heartbeat`. As long as
/// openraft allows: whoever waits for more than this has lost touch with its peers.
fn longest_round_trip(settings: &Settings) -> u64 {
    shortest_wait(settings) - 1
}

/// How old a quorum's confirmation may be that a read relies on, when this is the shortest promise of those
/// it may be from. Three quarters of what each of them waits: that much slower may the leader's clock be.
pub(super) fn read_lease(settings: &Settings, promise: Duration) -> Option<Duration> {
    let lease = promise.min(Duration::from_millis(promise_ms(settings))) * 3 / 4;
    (lease > Duration::ZERO).then_some(lease)
}

/// How long, in milliseconds, this member lets nobody else lead after it has heard of a leader, in this life
/// or the next: `start` keeps it. None where no read relies on it.
pub(super) fn promise_ms(settings: &Settings) -> u64 {
    match settings.read_mode {
        ReadMode::ReadIndex => 0,
        ReadMode::LeaderLease => shortest_wait(settings),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(heartbeat: u64, election: u64) -> Settings {
        Settings {
            heartbeat_interval: Duration::from_millis(heartbeat),
            election_timeout: Duration::from_millis(election),
            ..Settings::for_tests()
        }
    }

    #[test]
    fn election_timeouts_are_fractions_of_etcds() {
        let config = raft_config(&settings(100, 1000), false).unwrap();
        assert_eq!((config.election_timeout_min, config.election_timeout_max), (300, 600));
        assert_eq!(config.heartbeat_interval, 299);
        assert_eq!(config.enable_leader_restore, Some(false));
        assert_eq!(config.enable_pre_vote, Some(true));
    }

    #[test]
    fn every_ratio_etcd_accepts_is_valid_here() {
        for (heartbeat, election) in [(1, 5), (10, 50), (100, 500), (100, 50_000), (10_000, 50_000)]
        {
            raft_config(&settings(heartbeat, election), false).unwrap();
        }
    }
}
