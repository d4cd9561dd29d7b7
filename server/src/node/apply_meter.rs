//! What applying did, as metrics; and the log's line about what took too long.

use std::sync::Arc;
use std::time::Duration;

use vetch_proto::etcdserverpb::PutRequest;
use vetch_proto::vetchpb::proposal::Command;
use vetch_storage::{Applied, ApplyError, EventKind, Response};

use crate::metrics::{KeyOperations, Metrics, Operation};
use crate::rpc::slow;

/// Counts what is applied, on the applying task.
#[derive(Debug)]
pub(super) struct ApplyMeter {
    pub(super) metrics: Arc<Metrics>,
    /// `--warning-apply-duration`.
    pub(super) warn_after: Duration,
}

impl ApplyMeter {
    pub(super) fn command(&self, command: &Command, applied: &Applied, took: Duration) {
        let operation = Operation::of(command);
        // As in etcd, a read of what is compacted is an answer like others.
        let success = matches!(&applied.response, Ok(_) | Err(ApplyError::Compacted { .. }));
        self.metrics.requests.applied(operation, success, took);
        self.count_operations(command, applied);
        if took > self.warn_after {
            let error = applied.response.as_ref().err().map(ToString::to_string);
            let request = slow::command(command);
            slow::warn_apply(&self.metrics, "", took, self.warn_after, &request, error.as_deref());
        }
    }

    pub(super) fn committed(&self, took: Duration) {
        self.metrics.disk.backend_commit.observe(Metrics::seconds(took));
    }

    fn count_operations(&self, command: &Command, applied: &Applied) {
        let Ok(response) = &applied.response else { return };
        let operations = match response {
            Response::Put(_) => KeyOperations { puts: 1, ..Default::default() },
            Response::DeleteRange(_) => KeyOperations { deletes: 1, ..Default::default() },
            Response::Txn(txn) => KeyOperations::of_txn(txn),
            // Each of a lease's keys is deleted by itself.
            Response::LeaseRevoke | Response::LeaseExpire { .. } => {
                let events = applied.events.iter().map(|batch| batch.events.len() as u64);
                KeyOperations { deletes: events.sum(), ..Default::default() }
            }
            Response::None
            | Response::Compaction
            | Response::LeaseGrant { .. }
            | Response::LeaseCheckpoint
            | Response::Alarm(_) => return,
        };
        self.metrics.mvcc.count(operations);
        // A put's own request tells its size; of anything else the events do.
        let size = if let Command::Put(put) = command { put_size(put) } else { put_sizes(applied) };
        self.metrics.mvcc.put_size.inc_by(i64::try_from(size).unwrap_or(i64::MAX));
    }
}

fn put_size(put: &PutRequest) -> usize {
    put.key.len() + put.value.len()
}

fn put_sizes(applied: &Applied) -> usize {
    let events = applied.events.iter().flat_map(|batch| &batch.events);
    events
        .filter(|event| event.kind == EventKind::Put)
        .map(|event| event.kv.key.len() + event.kv.value.len())
        .sum()
}
