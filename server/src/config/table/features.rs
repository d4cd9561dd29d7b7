//! Flags about background work, unsafe ones, and those etcd has long forgotten.

use crate::config::flags::Flag;
use crate::config::flags::Kind::{Bool, Duration, Int, Uint};

const FORGOTTEN: &str = "it has had no effect since etcd 0.5";

pub(super) const FLAGS: &[Flag] = &[
    Flag::new(
        "corrupt-check-time",
        Duration,
        "0s",
        "Time between comparisons of all that members have stored, by the leader; 0 for never.",
    ),
    Flag::new(
        "compact-hash-check-time",
        Duration,
        "1m",
        "Time between comparisons of the members' compaction hashes, with the gate CompactHashCheck.",
    ),
    Flag::new(
        "compaction-batch-limit",
        Int,
        "1000",
        "Most revisions removed in one batch of a compaction.",
    ),
    Flag::new(
        "compaction-sleep-interval",
        Duration,
        "10ms",
        "Pause between two batches of a compaction.",
    ),
    Flag::new(
        "watch-progress-notify-interval",
        Duration,
        "10m",
        "Time between progress notifications to a quiet watch that asked for them; at least 100ms.",
    ),
    Flag::new(
        "warning-apply-duration",
        Duration,
        "100ms",
        "Applies and reads slower than this are logged.",
    ),
    Flag::new(
        "bootstrap-defrag-threshold-megabytes",
        Uint,
        "0",
        "Defragment at start if it frees as much, 0 for never.",
    )
    .ignored("the engine reclaims space while it runs"),
    Flag::new("max-learners", Int, "1", "Most learners in the cluster."),
    Flag::new(
        "downgrade-check-time",
        Duration,
        "5s",
        "Time between checks whether a downgrade has ended.",
    )
    .ignored("downgrades are not built"),
];

pub(super) const UNSAFE: &[Flag] = &[
    Flag::new(
        "force-new-cluster",
        Bool,
        "false",
        "Make the member a cluster of one, under a new cluster id, and keep its data.",
    ),
    Flag::new(
        "unsafe-no-fsync",
        Bool,
        "false",
        "Never wait for the disk: a power failure loses acknowledged writes.",
    )
    .rejected("every write is synced; for data to throw away, use a data directory in memory"),
];

const fn forgotten(name: &'static str) -> Flag {
    Flag::new(name, Bool, "false", "Accepted, without effect.").no_yaml().ignored(FORGOTTEN)
}

pub(super) const LEGACY: &[Flag] = &[
    forgotten("cluster-active-size"),
    forgotten("cluster-remove-delay"),
    forgotten("cluster-sync-interval"),
    forgotten("force"),
    forgotten("max-result-buffer"),
    forgotten("max-retry-attempts"),
    forgotten("peer-heartbeat-interval"),
    forgotten("peer-election-timeout"),
    forgotten("retry-interval"),
    forgotten("snapshot"),
    forgotten("v"),
    forgotten("vv"),
];
