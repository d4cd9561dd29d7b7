//! Flags about this member, and Vetch's own.

use crate::config::flags::Flag;
use crate::config::flags::Kind::{Bool, Duration, Gates, Int, OneOf, Text, Uint, Uint32, Urls};

const BBOLT: &str = "it tunes bbolt; Vetch stores its state in an LSM engine";
const SEGMENTS: &str = "snapshot and log files are removed as soon as the log is purged; their number is not a setting";

pub(super) const FLAGS: &[Flag] = &[
    Flag::new("name", Text, "default", "Human-readable name of this member."),
    Flag::new("data-dir", Text, "${name}.etcd", "Directory of this member's data."),
    Flag::new("wal-dir", Text, "", "Separate directory for the log.").rejected(
        "the log lies in the data directory; mount its own disk at <data-dir>/member/wal instead",
    ),
    Flag::new(
        "snapshot-count",
        Uint,
        "10000",
        "Applied entries between two checkpoints of the engine.",
    ),
    Flag::new(
        "snapshot-catchup-entries",
        Uint,
        "5000",
        "Log entries kept behind a checkpoint for slow followers.",
    ),
    Flag::new("heartbeat-interval", Uint, "100", "Time between heartbeats, in milliseconds."),
    Flag::new(
        "election-timeout",
        Uint,
        "1000",
        "Time without a leader until there should be a new one, in milliseconds; at least 5 times \
         the heartbeat interval, at most 50000.",
    ),
    Flag::new(
        "initial-election-tick-advance",
        Bool,
        "true",
        "Whether to shorten the first election timeout at boot.",
    )
    .ignored("a single voter campaigns at once, there is no tick to advance"),
    Flag::new("listen-peer-urls", Urls, "http://localhost:2380", "URLs to listen on for peers."),
    Flag::new(
        "listen-client-urls",
        Urls,
        "http://localhost:2379",
        "URLs to listen on for clients, http:// or unix://: gRPC, and HTTP unless \
         --listen-client-http-urls is set.",
    ),
    Flag::new(
        "listen-client-http-urls",
        Urls,
        "",
        "URLs to listen on for HTTP only; takes HTTP away from --listen-client-urls.",
    ),
    Flag::new("max-snapshots", Uint, "5", "Snapshot files kept, 0 for all.")
        .ignored(SEGMENTS)
        .deprecated("--max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8."),
    Flag::new("max-wals", Uint, "5", "Log files kept, 0 for all.").ignored(SEGMENTS),
    Flag::new("memory-mlock", Bool, "false", "Lock the process's pages in RAM.")
        .rejected("locking memory is not built; limit swap for the process instead"),
    Flag::new(
        "quota-backend-bytes",
        Int,
        "0",
        "Size of the data, in bytes, beyond which the NOSPACE alarm stops writes; 0 means 2 GiB, \
         a negative number no limit.",
    ),
    Flag::new(
        "backend-bbolt-freelist-type",
        OneOf(&["array", "map"]),
        "map",
        "Type of bbolt's freelist.",
    )
    .ignored(BBOLT),
    Flag::new(
        "backend-batch-interval",
        Duration,
        "0s",
        "Longest time until a bbolt batch commits.",
    )
    .ignored(BBOLT),
    Flag::new("backend-batch-limit", Int, "0", "Most operations in a bbolt batch.").ignored(BBOLT),
    Flag::new("max-txn-ops", Uint, "128", "Most operations in one transaction."),
    Flag::new("max-request-bytes", Uint, "1572864", "Largest client request, in bytes."),
    Flag::new(
        "max-concurrent-streams",
        Uint32,
        "4294967295",
        "Most HTTP/2 streams one connection may have open.",
    ),
    Flag::new(
        "grpc-keepalive-min-time",
        Duration,
        "5s",
        "Clients that ping more often than this, or than every 20s without a request under way, are \
         sent away; 0 for none.",
    ),
    Flag::new(
        "grpc-keepalive-interval",
        Duration,
        "2h",
        "Time between pings to an idle connection, 0 for none.",
    ),
    Flag::new(
        "grpc-keepalive-timeout",
        Duration,
        "20s",
        "Time to wait for a ping's answer before closing, 0 for ever.",
    ),
    Flag::new("socket-reuse-port", Bool, "false", "Set SO_REUSEPORT on listeners.")
        .yaml("socket-options.reuse-port"),
    Flag::new("socket-reuse-address", Bool, "false", "Set SO_REUSEADDR on listeners.")
        .yaml("socket-options.reuse-address")
        .ignored("it is always set, so that a restart need not wait for old connections to expire"),
    Flag::new("enable-grpc-gateway", Bool, "true", "Serve JSON over HTTP under /v3/.")
        .ignored("the JSON gateway is not built yet: requests to /v3/ are answered with 501"),
    Flag::new("raft-read-timeout", Duration, "5s", "Read timeout of peer connections.")
        .no_yaml()
        .ignored("how long a member waits for another follows from --election-timeout"),
    Flag::new("raft-write-timeout", Duration, "5s", "Write timeout of peer connections.")
        .no_yaml()
        .ignored("how long a member waits for another follows from --election-timeout"),
    Flag::new(
        "feature-gates",
        Gates,
        "",
        "Features switched on or off: Name=true|false, comma-separated.",
    ),
    Flag::new(
        "config-file",
        Text,
        "",
        "YAML or JSON file with the configuration; all other flags and the environment are then \
         ignored. Durations in it are integer nanoseconds.",
    )
    .no_yaml(),
    Flag::new("version", Bool, "false", "Print the version and exit.").no_yaml(),
];

pub(super) const VETCH: &[Flag] = &[
    Flag::new(
        "storage-engine",
        OneOf(&["fjall", "sled"]),
        "fjall",
        "Engine under the state machine; fixed when the data directory is created.",
    ),
    Flag::new(
        "memory-budget",
        Uint,
        "268435456",
        "Bytes that all caches and write buffers of the engine may hold together.",
    ),
    Flag::new(
        "read-mode",
        OneOf(&["read-index", "leader-lease"]),
        "read-index",
        "How a leader makes sure that it leads before a linearizable read: it asks a quorum each time, or \
         relies on the clocks of all members, none of which may run slower than another's by more than a \
         quarter, or stand still. Clocks are relied on only while all voters are set so.",
    ),
    Flag::new(
        "auto-promote-learners",
        Bool,
        "false",
        "Promote a learner as soon as it is in sync with the leader.",
    ),
];
