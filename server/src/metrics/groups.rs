//! The metrics by subject. Gauges that mirror the state are set when somebody looks
//! (see [`super::Metrics::set_refresh`]).

use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::buckets;
use super::counter::Counter;
use super::family::Family;
use super::group::metric_group;
use super::operation::KeyOperations;

metric_group! {
    /// Consensus, health, and requests as a whole.
    pub struct ServerMetrics {
        has_leader: Gauge = Gauge::default(), "etcd_server_has_leader", "1 if a leader is known";
        is_leader: Gauge = Gauge::default(), "etcd_server_is_leader", "1 on the leader";
        is_learner: Gauge = Gauge::default(), "etcd_server_is_learner", "1 on a learner";
        leader_changes_seen: Counter = Counter::default(),
            "etcd_server_leader_changes_seen_total", "Changes of the leader that were seen";
        proposals_committed: Gauge = Gauge::default(),
            "etcd_server_proposals_committed_total", "Index of the newest committed entry";
        proposals_applied: Gauge = Gauge::default(),
            "etcd_server_proposals_applied_total", "Index of the newest applied entry";
        proposals_pending: Gauge = Gauge::default(),
            "etcd_server_proposals_pending", "Proposals that wait for their answer";
        proposals_failed: Counter = Counter::default(),
            "etcd_server_proposals_failed_total", "Proposals that failed";
        read_indexes_failed: Counter = Counter::default(),
            "etcd_server_read_indexes_failed_total", "Read indexes that failed";
        slow_read_indexes: Counter = Counter::default(),
            "etcd_server_slow_read_indexes_total", "Read indexes that took too long";
        slow_apply: Counter = Counter::default(),
            "etcd_server_slow_apply_total", "Applies slower than --warning-apply-duration";
        slow_disk_handovers: Counter = Counter::default(),
            "vetch_server_slow_disk_handovers_total", "Leaderships handed over because the log's disk stalled";
        state_agreed: Gauge = Gauge::default(),
            "vetch_state_agreed_index",
            "Index of the newest entry after which a quorum was found to have this member's state";
        quota_backend_bytes: Gauge = Gauge::default(),
            "etcd_server_quota_backend_bytes", "Size beyond which the NOSPACE alarm is raised, 0 for none";
        health_success: Counter = Counter::default(),
            "etcd_server_health_success", "Good answers of /health";
        health_failures: Counter = Counter::default(),
            "etcd_server_health_failures", "Bad answers of /health";
    }
}

metric_group! {
    /// Keys, revisions, compaction.
    pub struct MvccMetrics {
        put: Counter = Counter::default(), "etcd_mvcc_put_total", "Puts applied";
        delete: Counter = Counter::default(), "etcd_mvcc_delete_total", "Deletes applied";
        range: Counter = Counter::default(), "etcd_mvcc_range_total", "Ranges executed";
        txn: Counter = Counter::default(), "etcd_mvcc_txn_total", "Transactions executed";
        db_total_size: Gauge = Gauge::default(),
            "etcd_mvcc_db_total_size_in_bytes", "Size of the data on disk";
        db_size_in_use: Gauge = Gauge::default(),
            "etcd_mvcc_db_total_size_in_use_in_bytes", "Size of the data that is live";
        hash_duration: Histogram = buckets::hash_seconds(),
            "etcd_mvcc_hash_duration_seconds", "Time of Hash";
        hash_rev_duration: Histogram = buckets::hash_seconds(),
            "etcd_mvcc_hash_rev_duration_seconds", "Time of HashKV";
        current_revision: Gauge = Gauge::default(),
            "etcd_debugging_mvcc_current_revision", "Current revision";
        compact_revision: Gauge = Gauge::default(),
            "etcd_debugging_mvcc_compact_revision", "Revision of the last compaction, -1 before the first";
        keys: Gauge = Gauge::default(), "etcd_debugging_mvcc_keys_total", "Live keys";
        put_size: Gauge = Gauge::default(),
            "etcd_debugging_mvcc_total_put_size_in_bytes", "Bytes put";
        compaction_keys: Counter = Counter::default(),
            "etcd_debugging_mvcc_db_compaction_keys_total", "Revisions removed by compaction";
        compaction_last: Gauge = Gauge::default(),
            "etcd_debugging_mvcc_db_compaction_last", "Unix time of the last finished compaction";
        compaction_pause: Histogram = buckets::pause_millis(),
            "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds", "Time of one batch of a compaction";
        compaction_duration: Histogram = buckets::compaction_millis(),
            "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds", "Time of a whole compaction";
    }
}

impl MvccMetrics {
    /// Counts what was done; more than one operation at once is a transaction, as etcd has it.
    pub fn count(&self, operations: KeyOperations) {
        self.range.add(operations.ranges);
        self.put.add(operations.puts);
        self.delete.add(operations.deletes);
        self.txn.add(u64::from(operations.total() > 1));
    }
}

metric_group! {
    /// Watch streams and their events.
    pub struct WatchMetrics {
        events: Counter = Counter::default(),
            "etcd_debugging_mvcc_events_total", "Events handed to watchers";
        pending_events: Gauge = Gauge::default(),
            "etcd_debugging_mvcc_pending_events_total", "Events queued to watch streams";
        slow_watchers: Gauge = Gauge::default(),
            "etcd_debugging_mvcc_slow_watcher_total", "Watchers that are behind";
        streams: Gauge = Gauge::default(),
            "etcd_debugging_mvcc_watch_stream_total", "Open watch streams";
        watchers: Gauge = Gauge::default(), "etcd_debugging_mvcc_watcher_total", "Watchers";
    }
}

metric_group! {
    /// Leases.
    pub struct LeaseMetrics {
        granted: Counter = Counter::default(), "etcd_debugging_lease_granted_total", "Leases granted";
        renewed: Counter = Counter::default(), "etcd_debugging_lease_renewed_total", "Leases renewed";
        revoked: Counter = Counter::default(), "etcd_debugging_lease_revoked_total", "Leases revoked";
        ttl: Histogram = buckets::ttl_seconds(), "etcd_debugging_lease_ttl_total", "TTLs granted, in seconds";
        expired: Counter = Counter::default(),
            "etcd_debugging_server_lease_expired_total", "Leases that this leader let expire";
    }
}

metric_group! {
    /// Log and engine.
    pub struct DiskMetrics {
        wal_fsync: Histogram = buckets::latency(),
            "etcd_disk_wal_fsync_duration_seconds", "Time of a sync of the log";
        wal_write: Histogram = buckets::latency(),
            "etcd_disk_wal_write_duration_seconds", "Time of a write to the log";
        wal_write_bytes: Gauge = Gauge::default(),
            "etcd_disk_wal_write_bytes_total", "Bytes written to the log";
        backend_commit: Histogram = buckets::latency(),
            "etcd_disk_backend_commit_duration_seconds", "Time of a commit to the engine";
        defrag: Histogram = buckets::defrag_seconds(),
            "etcd_disk_backend_defrag_duration_seconds", "Time of Defragment";
        snapshot: Histogram = buckets::snapshot_seconds(),
            "etcd_disk_backend_snapshot_duration_seconds", "Time of Snapshot";
        defrag_inflight: Gauge = Gauge::default(),
            "etcd_disk_defrag_inflight", "1 while Defragment runs";
    }
}

metric_group! {
    /// Bytes of gRPC clients.
    pub struct NetworkMetrics {
        client_received: Counter = Counter::default(),
            "etcd_network_client_grpc_received_bytes_total", "Bytes received from gRPC clients";
        client_sent: Counter = Counter::default(),
            "etcd_network_client_grpc_sent_bytes_total", "Bytes sent to gRPC clients";
    }
}

metric_group! {
    /// Scrapes of these metrics.
    pub struct HttpMetrics {
        scrapes_in_flight: Gauge = Gauge::default(),
            "promhttp_metric_handler_requests_in_flight", "Scrapes in flight";
    }
}

metric_group! {
    /// Families, whose members are resolved by the methods of [`super::Metrics`].
    pub(super) struct Families {
        apply_duration: Family<Histogram> = Family::new(buckets::fine_latency),
            "etcd_server_apply_duration_seconds", "Time of applying, by operation";
        request_duration: Family<Histogram> = Family::new(buckets::latency),
            "etcd_server_request_duration_seconds", "Time of requests, by type";
        range_duration: Family<Histogram> = Family::new(buckets::fine_latency),
            "etcd_server_range_duration_seconds", "Time of ranges";
        client_requests: Family<Counter> = Family::new(Counter::default),
            "etcd_server_client_requests_total", "Requests by the client's API version";
        healthcheck: Family<Gauge> = Family::new(Gauge::default),
            "etcd_server_healthcheck", "Last result of each health check";
        healthchecks: Family<Counter> = Family::new(Counter::default),
            "etcd_server_healthchecks_total", "Health checks by result";
        stream_failures: Family<Counter> = Family::new(Counter::default),
            "etcd_network_server_stream_failures_total", "Streams that broke";
        alarms: Family<Gauge> = Family::new(Gauge::default),
            "etcd_debugging_server_alarms", "1 for each alarm that is raised";
        cluster_version: Family<Gauge> = Family::new(Gauge::default),
            "etcd_cluster_version", "1 with the cluster's version as a label";
        scrapes: Family<Counter> = Family::new(Counter::default),
            "promhttp_metric_handler_requests_total", "Scrapes by status code";
        server_id: Family<Gauge> = Family::new(Gauge::default),
            "etcd_server_id", "1 with the member's id as a label";
        known_peers: Family<Gauge> = Family::new(Gauge::default),
            "etcd_network_known_peers", "1 for each member that this one knows, itself included";
    }
}

/// Seconds, as histograms take them.
pub(super) fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
