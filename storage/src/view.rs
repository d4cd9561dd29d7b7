//! Reads: an immutable state that many threads may hold.

use std::sync::Arc;

use bytes::Bytes;
use vetch_proto::etcdserverpb::{RangeRequest, TxnRequest, TxnResponse};
use vetch_proto::mvccpb::KeyValue;

use crate::alarm::Alarms;
use crate::engine::{Budget, Engine, Sizes};
use crate::error::{Fatal, ReadError};
use crate::event::EventBatch;
use crate::lease::LeaseTable;
use crate::member::Members;
use crate::mvcc::index::Index;
use crate::mvcc::key_range::KeyRange;
use crate::types::{LogId, Revision, RevisionKey};

/// The state as of one commit. Cheap to clone; pins its compacted revision: while a view is held, no
/// version it can read is deleted.
#[derive(Debug)]
pub struct ReadView<E: Engine> {
    engine: Arc<E>,
}

impl<E: Engine> Clone for ReadView<E> {
    fn clone(&self) -> Self {
        Self { engine: Arc::clone(&self.engine) }
    }
}

/// Gives the newest view; shared by all readers.
#[derive(Debug)]
pub struct Views<E: Engine> {
    engine: Arc<E>,
}

impl<E: Engine> Clone for Views<E> {
    fn clone(&self) -> Self {
        Self { engine: Arc::clone(&self.engine) }
    }
}

impl<E: Engine> Views<E> {
    /// The newest committed state.
    pub fn latest(&self) -> ReadView<E> {
        todo!()
    }
}

/// A page of history.
#[derive(Clone, Debug, Default)]
pub struct EventPage {
    /// Whole revisions, ascending; only events inside the asked range; revisions without one are
    /// left out.
    pub batches: Vec<Arc<EventBatch>>,
    /// The first revision this page did not look at.
    pub next: Revision,
}

/// HashKV's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKv {
    /// CRC-32C as etcd computes it.
    pub hash: u32,
    /// The compacted revision that was in force for the hash; -1 before any compaction.
    pub compact_revision: i64,
    /// The revision hashed up to.
    pub hash_revision: Revision,
}

/// One stored version, for export and checks.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredVersion {
    /// Where it is in history.
    pub revision: RevisionKey,
    /// A deletion; then only `kv.key` is set.
    pub tombstone: bool,
    /// The record.
    pub kv: KeyValue,
}

impl<E: Engine> ReadView<E> {
    /// The store's revision.
    pub fn revision(&self) -> Revision {
        todo!()
    }

    /// The last compacted revision: still readable itself. `None` before any compaction.
    pub fn compact_revision(&self) -> Option<Revision> {
        todo!()
    }

    /// The newest entry this view contains.
    pub fn applied(&self) -> LogId {
        todo!()
    }

    /// Answers a range request (already validated: key present, enums known).
    ///
    /// Reads no value yet: [`RangeAnswer`] does as it is consumed.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeAnswer<E>, ReadError> {
        let _ = request;
        todo!()
    }

    /// The record of `key` at `at`, if that version is stored. For `prev_kv`.
    pub fn record(&self, key: &[u8], at: RevisionKey) -> Result<Option<KeyValue>, Fatal> {
        let _ = (key, at);
        todo!()
    }

    /// Events of `range` from `from` on, about `budget_bytes` of them or `max_revisions` revisions
    /// scanned, whichever comes first; at least one revision when there is one. Refused with
    /// `Compacted` when `from` is below the compacted revision.
    pub fn events(
        &self,
        range: &KeyRange,
        from: Revision,
        budget_bytes: usize,
        max_revisions: usize,
    ) -> Result<EventPage, ReadError> {
        let _ = (range, from, budget_bytes, max_revisions);
        todo!()
    }

    /// HashKV at a revision; 0 is the current one.
    pub fn hash_kv(&self, revision: Revision) -> Result<HashKv, ReadError> {
        let _ = revision;
        todo!()
    }

    /// Every stored version that compaction has not removed, by ascending revision.
    pub fn versions(&self) -> impl Iterator<Item = Result<StoredVersion, Fatal>> + Send + '_ {
        std::iter::from_fn(|| todo!())
    }

    /// The index, for counts and key listings.
    pub fn index(&self) -> &Index {
        todo!()
    }

    /// All leases.
    pub fn leases(&self) -> &LeaseTable {
        todo!()
    }

    /// Active alarms.
    pub fn alarms(&self) -> &Alarms {
        todo!()
    }

    /// The member table.
    pub fn members(&self) -> &Members {
        todo!()
    }

    /// The replicated cluster version, e.g. `3.7.0`; `None` before the leader has set it.
    pub fn cluster_version(&self) -> Option<&str> {
        todo!()
    }

    /// Sizes of the engine, now.
    pub fn sizes(&self) -> Sizes {
        todo!()
    }
}

impl<E: Engine> ReadView<E> {
    /// etcd's Hash: CRC-32C over all buckets of the database file an export of this view would be.
    pub fn hash(&self) -> Result<u32, Fatal> {
        todo!()
    }

    /// Lets the engine do a bounded piece of background work now; `true` while more is left.
    pub fn maintain(&self, budget: Budget) -> Result<bool, Fatal> {
        self.engine.maintain(budget)
    }

    /// Evaluates a transaction whose branches hold only ranges (already validated), at this view:
    /// compares, the checks of every range of the chosen branch, then the ranges. The outer header is
    /// absent; inner headers carry the revision, as in an applied transaction.
    pub fn read_txn(&self, request: &TxnRequest) -> Result<TxnResponse, ReadError> {
        let _ = request;
        todo!()
    }
}

/// The answer to a range request, read from the engine as it is consumed.
///
/// The encoded length of everything is known before the first value is read, so that a message can
/// be framed and then streamed in constant memory.
#[derive(Debug)]
pub struct RangeAnswer<E: Engine> {
    view: ReadView<E>,
}

impl<E: Engine> RangeAnswer<E> {
    /// The store's revision when the view was taken.
    pub fn revision(&self) -> Revision {
        self.view.revision()
    }

    /// Keys in the range, whatever limit and filters say.
    pub fn count(&self) -> u64 {
        todo!()
    }

    /// Whether the limit cut something off.
    pub fn more(&self) -> bool {
        todo!()
    }

    /// Records still to come.
    pub fn remaining(&self) -> usize {
        todo!()
    }

    /// Bytes that all remaining records take as `kvs` fields of a RangeResponse, tags and lengths
    /// included.
    pub fn encoded_len(&self) -> u64 {
        todo!()
    }

    /// The next records as encoded `kvs` fields, at least one record, about `budget_bytes`; empty at
    /// the end. The sum of all chunks is exactly [`encoded_len`](Self::encoded_len).
    pub fn next_chunk(&mut self, budget_bytes: usize) -> Result<Bytes, Fatal> {
        let _ = budget_bytes;
        todo!()
    }

    /// The next at most `limit` records, decoded.
    pub fn next_records(&mut self, limit: usize) -> Result<Vec<KeyValue>, Fatal> {
        let _ = limit;
        todo!()
    }
}
