//! Flags about bootstrap, discovery and membership.

use crate::config::flags::Flag;
use crate::config::flags::Kind::{Bool, Duration, OneOf, Sequence, Text, Urls};

const DISCOVERY: &str = "v3 discovery is not built; list the members in --initial-cluster, or in DNS for --discovery-srv";

const fn discovery(
    name: &'static str,
    kind: crate::config::flags::Kind,
    default: &'static str,
    yaml: &'static str,
    doc: &'static str,
) -> Flag {
    Flag::new(name, kind, default, doc).yaml(yaml).rejected(DISCOVERY)
}

pub(super) const FLAGS: &[Flag] = &[
    Flag::new(
        "initial-advertise-peer-urls",
        Urls,
        "http://localhost:2380",
        "This member's peer URLs, as other members reach them.",
    ),
    Flag::new(
        "initial-cluster",
        Text,
        "default=http://localhost:2380",
        "Members that begin a cluster, name=URL, comma-separated, the same for all; without effect once \
         the data directory exists.",
    ),
    Flag::new(
        "initial-cluster-state",
        OneOf(&["new", "existing"]),
        "new",
        "'new' to bootstrap, 'existing' to join; without effect once the data directory exists.",
    ),
    Flag::new(
        "initial-cluster-token",
        Text,
        "etcd-cluster",
        "Goes into the member's and the cluster's ids, so that clusters never mix.",
    ),
    Flag::new(
        "advertise-client-urls",
        Urls,
        "http://localhost:2379",
        "This member's client URLs, as clients reach them; needed with --listen-client-urls.",
    ),
    discovery("discovery-token", Text, "", "discovery-config.token", "Token of v3 discovery."),
    discovery(
        "discovery-endpoints",
        Sequence,
        "",
        "discovery-config.client.endpoints",
        "Endpoints of v3 discovery.",
    ),
    discovery(
        "discovery-dial-timeout",
        Duration,
        "2s",
        "discovery-config.client.dial-timeout",
        "Dial timeout of v3 discovery.",
    ),
    discovery(
        "discovery-request-timeout",
        Duration,
        "5s",
        "discovery-config.client.request-timeout",
        "Request timeout of v3 discovery.",
    ),
    discovery(
        "discovery-keepalive-time",
        Duration,
        "2s",
        "discovery-config.client.keepalive-time",
        "Keepalive time of v3 discovery.",
    ),
    discovery(
        "discovery-keepalive-timeout",
        Duration,
        "6s",
        "discovery-config.client.keepalive-timeout",
        "Keepalive timeout of v3 discovery.",
    ),
    discovery(
        "discovery-insecure-transport",
        Bool,
        "true",
        "discovery-config.client.secure.insecure-transport",
        "v3 discovery without TLS.",
    ),
    discovery(
        "discovery-insecure-skip-tls-verify",
        Bool,
        "false",
        "discovery-config.client.secure.insecure-skip-tls-verify",
        "v3 discovery without checking certificates.",
    ),
    discovery(
        "discovery-cert",
        Text,
        "",
        "discovery-config.client.secure.cert",
        "Client certificate for v3 discovery.",
    ),
    discovery(
        "discovery-key",
        Text,
        "",
        "discovery-config.client.secure.key",
        "Client key for v3 discovery.",
    ),
    discovery(
        "discovery-cacert",
        Text,
        "",
        "discovery-config.client.secure.cacert",
        "CA for v3 discovery.",
    ),
    discovery(
        "discovery-user",
        Text,
        "",
        "discovery-config.client.auth.username",
        "User, or user:password, for v3 discovery.",
    ),
    discovery(
        "discovery-password",
        Text,
        "",
        "discovery-config.client.auth.password",
        "Password for v3 discovery.",
    ),
    Flag::new("discovery-fallback", OneOf(&["exit"]), "exit", "What to do when discovery fails.")
        .no_yaml()
        .ignored("a member whose discovery fails exits, there is nothing else")
        .deprecated("--discovery-fallback is deprecated: only 'exit' is left"),
    Flag::new(
        "discovery-srv",
        Text,
        "",
        "DNS domain whose SRV records name the members that begin a cluster, instead of --initial-cluster: \
         _etcd-server-ssl._tcp and _etcd-server._tcp.",
    ),
    Flag::new(
        "discovery-srv-name",
        Text,
        "",
        "Suffix of the services asked for with --discovery-srv: _etcd-server-<suffix>._tcp.",
    ),
    Flag::new(
        "strict-reconfig-check",
        Bool,
        "true",
        "Refuse membership changes that would endanger the quorum.",
    ),
    Flag::new("pre-vote", Bool, "true", "Ask before an election, so that a returning member disturbs none.")
        .ignored("pre-vote is always on"),
    Flag::new(
        "auto-compaction-retention",
        Text,
        "0",
        "History to keep: a duration (hours if a bare number), or revisions in mode 'revision'; 0 \
         compacts nothing.",
    ),
    Flag::new(
        "auto-compaction-mode",
        OneOf(&["periodic", "revision"]),
        "periodic",
        "How --auto-compaction-retention is meant.",
    ),
    Flag::new(
        "v2-deprecation",
        OneOf(&["not-yet", "write-only", "write-only-skip-check", "write-only-drop-data", "gone"]),
        "write-only",
        "Phase of the v2 store's removal.",
    )
    .ignored("there is no v2 store")
    .deprecated("--v2-deprecation is deprecated and scheduled for removal in v3.8. The default value is enforced, ignoring user input."),
];
