//! The newest revisions' events, kept in memory for watchers a little behind.

use std::collections::VecDeque;
use std::sync::Arc;

use vetch_storage::Revision;

use super::shared_batch::SharedBatch;

/// A ring of whole revisions, bounded in bytes.
///
/// **Invariant:** `batches` is ascending and holds every revision with events in `first..=tail`.
#[derive(Debug)]
pub struct EventLog {
    batches: VecDeque<Arc<SharedBatch>>,
    first: Revision,
    bytes: usize,
    max_bytes: usize,
}

impl EventLog {
    /// An empty log of a store at `revision`.
    pub fn new(revision: Revision, max_bytes: usize) -> Self {
        Self { batches: VecDeque::new(), first: revision.next(), bytes: 0, max_bytes }
    }

    /// Adds the newest revision; the oldest go when the bound is passed.
    pub fn push(&mut self, batch: Arc<SharedBatch>) {
        assert!(
            self.batches.back().is_none_or(|last| last.revision() < batch.revision()),
            "revisions are published in order"
        );
        self.bytes += batch.bytes();
        self.batches.push_back(batch);
        while self.bytes > self.max_bytes {
            let Some(oldest) = self.batches.pop_front() else { return };
            self.bytes -= oldest.bytes();
            self.first = oldest.revision().next();
        }
    }

    /// The batches from `from` on; `None` when `from` is older than the log.
    pub fn since(&self, from: Revision) -> Option<impl Iterator<Item = &Arc<SharedBatch>>> {
        if from < self.first {
            return None;
        }
        let start = self.batches.partition_point(|batch| batch.revision() < from);
        Some(self.batches.range(start..))
    }
}
