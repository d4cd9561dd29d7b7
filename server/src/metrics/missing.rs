//! Metrics of etcd that Vetch does not export, and why.

/// Some metrics and the reason they are absent.
#[derive(Clone, Copy, Debug)]
pub struct Missing {
    /// A name, or the beginning of names if it ends in `*`.
    pub pattern: &'static str,
    /// Why.
    pub reason: &'static str,
}

impl Missing {
    /// Whether this speaks of `name`.
    pub fn covers(&self, name: &str) -> bool {
        match self.pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == self.pattern,
        }
    }
}

const fn missing(pattern: &'static str, reason: &'static str) -> Missing {
    Missing { pattern, reason }
}

/// Every metric of etcd 3.7 that is absent.
pub const NOT_EXPORTED: &[Missing] = &[
    missing("etcd_debugging_auth_revision", "authentication is not built yet"),
    missing(
        "etcd_debugging_disk_backend_commit_*",
        "phases of a bbolt commit; the engine has none",
    ),
    missing(
        "etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds",
        "the index is not stopped for a compaction",
    ),
    missing("etcd_debugging_server_watch_send_loop_*", "watch streams have no such loop"),
    missing("etcd_debugging_snap_save_*", "a checkpoint of the engine writes no snapshot file"),
    missing("etcd_debugging_store_*", "left over from the v2 store"),
    missing("etcd_grpc_proxy_*", "of the gRPC proxy, which is a process of its own"),
    missing(
        "etcd_mvcc_db_open_read_transactions",
        "readers hold immutable views; nothing waits for them to close",
    ),
    missing("etcd_server_go_version", "Vetch is not written in Go"),
    missing(
        "etcd_server_heartbeat_send_failures_total",
        "heartbeats that are late are not counted; their round trips are",
    ),
    missing(
        "etcd_server_learner_promote_*",
        "what a leader does for clients of other members is not counted",
    ),
    missing(
        "etcd_server_snapshot_apply_in_progress_total",
        "a state is built up while it is received, and then switched to: see etcd_network_snapshot_receive_*",
    ),
    missing(
        "etcd_snap_*",
        "a state from a peer goes into an engine as it comes; there is no snapshot file to save or sync",
    ),
    missing("go_*", "of the Go runtime; see vetch_jemalloc_* for memory"),
    missing("up (scrape job)", "made by Prometheus itself"),
];

const HEAD: &str = "# Metrics

Generated from `server/src/metrics/`; do not edit.
`UPDATE_DOCS=1 cargo test -p vetch-server --test metrics_table` writes it anew.

`/metrics` speaks the Prometheus text format with the names, types, labels and buckets of etcd 3.7, so
that its dashboards and alerts work unchanged. `vetch_*` are Vetch's own.
`grpc_server_handling_seconds` needs `--metrics extensive`.
";

/// `docs/metrics.md`; `exported` are rows of name, type and meaning.
pub fn markdown(exported: &[(String, String, String)]) -> String {
    let mut text = HEAD.to_owned();
    text.push_str("\n## Exported\n\n| Name | Type | Meaning |\n|---|---|---|\n");
    for (name, kind, help) in exported {
        text.extend(["| `", name, "` | ", kind, " | ", help, " |\n"]);
    }
    text.push_str("\n## Of etcd, not exported\n\n| Name | Why |\n|---|---|\n");
    for Missing { pattern, reason } in NOT_EXPORTED {
        text.extend(["| `", pattern, "` | ", reason, " |\n"]);
    }
    text
}
