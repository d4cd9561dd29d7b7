//! Reads: an immutable state that many threads may hold.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use vetch_proto::etcdserverpb::{RangeRequest, TxnRequest, TxnResponse};
use vetch_proto::mvccpb::KeyValue;

use crate::alarm::Alarms;
use crate::engine::{Budget, Engine, Sizes};
use crate::error::{Fatal, ReadError};
use crate::event::EventBatch;
use crate::lease::LeaseTable;
use crate::machine::Checkpointer;
use crate::machine::shared::{Shared, ViewState};
use crate::member::Members;
use crate::mvcc::compaction::Compactor;
use crate::mvcc::index::Index;
use crate::mvcc::key_range::KeyRange;
use crate::mvcc::range::RangePlan;
use crate::mvcc::reader::Reader;
use crate::mvcc::{hash, history, txn};
use crate::types::{LogId, Revision, RevisionKey};

/// The state as of one commit. Cheap to clone; pins its compacted revision: while a view is held, no
/// version it can read is deleted.
#[derive(Debug)]
pub struct ReadView<E: Engine> {
    shared: Arc<Shared<E>>,
    state: Arc<ViewState>,
}

impl<E: Engine> Clone for ReadView<E> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), state: Arc::clone(&self.state) }
    }
}

/// Gives the newest view; shared by all readers. Follows the machine when its state is replaced.
#[derive(Debug)]
pub struct Views<E: Engine> {
    current: Arc<ArcSwap<Shared<E>>>,
}

impl<E: Engine> Clone for Views<E> {
    fn clone(&self) -> Self {
        Self { current: Arc::clone(&self.current) }
    }
}

impl<E: Engine> Views<E> {
    pub(crate) fn new(shared: Arc<Shared<E>>) -> Self {
        Self { current: Arc::new(ArcSwap::new(shared)) }
    }

    /// What is shared now. Not to be kept: it would keep a replaced engine open.
    pub(crate) fn shared(&self) -> Arc<Shared<E>> {
        self.current.load_full()
    }

    /// From now on gives the views of another state.
    pub(crate) fn replace(&self, shared: Arc<Shared<E>>) {
        self.current.store(shared);
    }

    /// The newest committed state.
    pub fn latest(&self) -> ReadView<E> {
        let shared = self.shared();
        let state = shared.view();
        ReadView { shared, state }
    }

    /// A handle for background deletion of compacted versions.
    pub fn compactor(&self) -> Compactor<E> {
        Compactor::new(self.clone())
    }

    /// A handle that makes the committed state durable.
    pub fn checkpointer(&self) -> Checkpointer<E> {
        Checkpointer::new(self.clone())
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

/// `HashKV`'s answer.
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
        self.state.revision
    }

    /// The last compacted revision: still readable itself. `None` before any compaction.
    pub fn compact_revision(&self) -> Option<Revision> {
        self.state.compacted
    }

    /// The newest entry this view contains.
    pub fn applied(&self) -> LogId {
        self.state.applied
    }

    /// The running digest as of this view: hash over all applied changes, equal on all members at the
    /// same applied index.
    pub fn digest(&self) -> u64 {
        self.state.digest
    }

    pub(crate) fn state(&self) -> &ViewState {
        &self.state
    }

    pub(crate) fn engine(&self) -> &E {
        &self.shared.engine
    }

    pub(crate) fn reader(&self) -> Reader<'_, E> {
        Reader {
            engine: &self.shared.engine,
            index: &self.state.index,
            pending: &[],
            revision: self.state.revision,
            compacted: self.state.compacted,
        }
    }

    /// Answers a range request (already validated: key present, enums known).
    ///
    /// Reads no value yet (except to sort by value): [`RangeAnswer`] does as it is consumed.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeAnswer<E>, ReadError> {
        let plan = RangePlan::new(&self.reader(), request)?;
        Ok(RangeAnswer { view: self.clone(), plan })
    }

    /// Evaluates a transaction whose branches hold only ranges (already validated), at this view:
    /// compares, the checks of every range of the chosen branch, then the ranges. The outer header is
    /// absent; inner headers carry the revision, as in an applied transaction.
    ///
    /// # Panics
    /// If the transaction holds a put or a deletion.
    pub fn read_txn(&self, request: &TxnRequest) -> Result<TxnResponse, ReadError> {
        txn::read_only(&self.reader(), &self.state.leases, request)
    }

    /// The record of `key` at `at`, if that version is stored. For `prev_kv`.
    pub fn record(&self, key: &[u8], at: RevisionKey) -> Result<Option<KeyValue>, Fatal> {
        let record = self.reader().try_version(key, at)?;
        Ok(record
            .filter(|record| !record.tombstone)
            .map(|record| record.into_key_value(Bytes::copy_from_slice(key))))
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
        history::events(&self.reader(), range, from, budget_bytes, max_revisions)
    }

    /// `HashKV` at a revision; 0 is the current one. One of the last ten compacted revisions gets the
    /// hash its compaction took, even when a later one has compacted it.
    pub fn hash_kv(&self, revision: Revision) -> Result<HashKv, ReadError> {
        hash::hash_kv(&self.reader(), revision)
    }

    /// The hashes that the last ten compactions have taken here, oldest first.
    pub fn compaction_hashes(&self) -> Result<Vec<HashKv>, Fatal> {
        hash::compaction_hashes(self.shared.engine.as_ref())
    }

    /// Every stored version that compaction has not removed, by ascending revision. What a compaction
    /// still has to delete is left out.
    pub fn versions(&self) -> impl Iterator<Item = Result<StoredVersion, Fatal>> + Send + '_ {
        history::versions(self.reader())
    }

    /// The index, for counts and key listings.
    pub fn index(&self) -> &Index {
        &self.state.index
    }

    /// All leases.
    pub fn leases(&self) -> &LeaseTable {
        &self.state.leases
    }

    /// Active alarms.
    pub fn alarms(&self) -> &Alarms {
        &self.state.alarms
    }

    /// The member table.
    pub fn members(&self) -> &Members {
        &self.state.members
    }

    /// The replicated cluster version, e.g. `3.7.0`; `None` before the leader has set it.
    pub fn cluster_version(&self) -> Option<&str> {
        self.state.cluster_version.as_deref()
    }

    /// Sizes, now. `live` is counted from records, exactly, and falls as soon as compaction deletes;
    /// `on_disk` is what the engine's files take.
    pub fn sizes(&self) -> Sizes {
        let live = self.state.written.saturating_sub(self.shared.reclaimed());
        Sizes { live, ..self.shared.engine.sizes() }
    }

    /// Lets the engine do a bounded piece of background work now; `true` while more is left.
    pub fn maintain(&self, budget: Budget) -> Result<bool, Fatal> {
        self.shared.engine.maintain(budget)
    }
}

/// The answer to a range request, read from the engine as it is consumed.
///
/// The encoded length of everything is known before the first value is read, so that a message can
/// be framed and then streamed in constant memory.
#[derive(Debug)]
pub struct RangeAnswer<E: Engine> {
    view: ReadView<E>,
    plan: RangePlan,
}

impl<E: Engine> RangeAnswer<E> {
    /// The store's revision when the view was taken.
    pub fn revision(&self) -> Revision {
        self.view.revision()
    }

    /// Keys in the range, whatever limit and filters say.
    pub fn count(&self) -> u64 {
        self.plan.count()
    }

    /// Whether the limit cut something off.
    pub fn more(&self) -> bool {
        self.plan.more()
    }

    /// Records still to come.
    pub fn remaining(&self) -> usize {
        self.plan.remaining()
    }

    /// Bytes that all remaining records take as `kvs` fields of a `RangeResponse`, tags and lengths
    /// included. For a list of more than some hundred records the first call walks the index.
    pub fn encoded_len(&self) -> u64 {
        self.plan.encoded_len(self.view.index())
    }

    /// The next records as encoded `kvs` fields, at least one record, about `budget_bytes`; empty at
    /// the end. The sum of all chunks is exactly [`encoded_len`](Self::encoded_len).
    pub fn next_chunk(&mut self, budget_bytes: usize) -> Result<Bytes, Fatal> {
        self.plan.next_chunk(&self.view.reader(), budget_bytes)
    }

    /// The next at most `limit` records, decoded.
    pub fn next_records(&mut self, limit: usize) -> Result<Vec<KeyValue>, Fatal> {
        self.plan.next_records(&self.view.reader(), limit)
    }
}
