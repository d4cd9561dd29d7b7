//! What the log's disk did, as metrics.

use std::sync::Arc;
use std::time::Duration;

use vetch_raft::disk::{DiskError, DiskObserver};

use crate::metrics::Metrics;

/// Counts writes and syncs of the log.
#[derive(Debug)]
pub(super) struct DiskMeter(pub(super) Arc<Metrics>);

impl DiskObserver for DiskMeter {
    fn synced(&self, took: Duration) {
        self.0.disk.wal_fsync.observe(Metrics::seconds(took));
    }

    fn wrote(&self, bytes: u64, took: Duration) {
        let disk = &self.0.disk;
        disk.wal_write.observe(Metrics::seconds(took));
        disk.wal_write_bytes.inc_by(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    fn failed(&self, error: &DiskError) {
        tracing::error!(%error, "the log's disk has failed; this member stops");
    }
}
