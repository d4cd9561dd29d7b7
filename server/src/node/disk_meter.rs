//! What the log's disk did, as metrics.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use vetch_raft::disk::{DiskError, DiskObserver};

use crate::metrics::Metrics;

/// Counts from the moment the node knows who it is; what happens while it opens its log is not
/// latency that clients see.
#[derive(Debug, Default)]
pub(super) struct DiskMeter {
    metrics: OnceLock<Arc<Metrics>>,
}

impl DiskMeter {
    pub(super) fn begin(&self, metrics: &Arc<Metrics>) {
        self.metrics.get_or_init(|| Arc::clone(metrics));
    }
}

impl DiskObserver for DiskMeter {
    fn synced(&self, took: Duration) {
        if let Some(metrics) = self.metrics.get() {
            metrics.disk.wal_fsync.observe(Metrics::seconds(took));
        }
    }

    fn wrote(&self, bytes: u64) {
        if let Some(metrics) = self.metrics.get() {
            metrics.disk.wal_write_bytes.inc_by(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }

    fn failed(&self, error: &DiskError) {
        tracing::error!(%error, "the log's disk has failed; this member stops");
    }
}
