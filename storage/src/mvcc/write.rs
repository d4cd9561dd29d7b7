//! One revision in the making: puts and deletions, their records, events and lease attachments.

use bytes::Bytes;
use vetch_proto::etcdserverpb::request_op::Request;
use vetch_proto::etcdserverpb::{
    DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, ResponseHeader, ResponseOp,
    TxnRequest, TxnResponse, response_op,
};
use vetch_proto::mvccpb::KeyValue;

use super::index::{Index, IndexEntry};
use super::key_range::KeyRange;
use super::range::RangePlan;
use super::reader::{PendingVersion, Reader};
use super::txn::{Path, branch};
use crate::engine::{Engine, Family};
use crate::error::{Fatal, ReadError};
use crate::event::{Event, EventBatch, EventKind};
use crate::lease::LeaseTable;
use crate::machine::batch::OpenBatch;
use crate::schema::change::{ChangeRecord, Previous};
use crate::schema::version::VersionRecord;
use crate::types::{LeaseId, Revision, RevisionKey, Version};

/// What writes of keys change.
///
/// **Invariant:** a key is in a lease's set exactly when it lives and its record names that lease and
/// the lease exists.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keyspace {
    pub(crate) index: Index,
    pub(crate) leases: LeaseTable,
    pub(crate) revision: Revision,
    pub(crate) compacted: Option<Revision>,
    /// Sum of the footprints of all versions ever written.
    pub(crate) written: u64,
    /// Changes the index has taken since its checkpoint was read; since the state was opened where
    /// there was none.
    pub(crate) changes: u64,
}

impl Keyspace {
    /// The state as of now, the open batch included.
    pub(crate) fn reader<'a, E: Engine>(
        &'a self,
        engine: &'a E,
        pending: &'a [PendingVersion],
    ) -> Reader<'a, E> {
        Reader {
            engine,
            index: &self.index,
            pending,
            revision: self.revision,
            compacted: self.compacted,
        }
    }
}

/// A transaction that has passed its checks; nothing in it can be refused any more.
#[derive(Debug)]
pub(crate) struct Writer<'a, E: Engine> {
    engine: &'a E,
    keyspace: &'a mut Keyspace,
    batch: &'a mut OpenBatch,
    events: Vec<Event>,
}

impl<'a, E: Engine> Writer<'a, E> {
    pub(crate) fn new(engine: &'a E, keyspace: &'a mut Keyspace, batch: &'a mut OpenBatch) -> Self {
        Self { engine, keyspace, batch, events: Vec::new() }
    }

    /// The revision this transaction takes if it changes anything.
    fn main(&self) -> Revision {
        self.keyspace.revision.next()
    }

    /// What an operation's answer says: the current revision until something has changed.
    fn header(&self) -> ResponseHeader {
        let revision = if self.events.is_empty() { self.keyspace.revision } else { self.main() };
        ResponseHeader { revision: revision.0, ..Default::default() }
    }

    fn reader(&self) -> Reader<'_, E> {
        let mut reader = self.keyspace.reader(self.engine, &self.batch.versions);
        if !self.events.is_empty() {
            reader.revision = self.main();
        }
        reader
    }

    /// Ends the transaction: moves the revision if anything changed.
    pub(crate) fn finish(self) -> Option<EventBatch> {
        if self.events.is_empty() {
            return None;
        }
        let revision = self.main();
        self.keyspace.revision = revision;
        Some(EventBatch { revision, events: self.events })
    }

    /// Carries out a put.
    pub(crate) fn put(&mut self, request: &PutRequest) -> Result<PutResponse, Fatal> {
        let before = self.keyspace.index.get(&request.key);
        let live = before.filter(|entry| !entry.tombstone);
        let previous = match live {
            Some(entry) if request.prev_kv || request.ignore_value => {
                Some(self.reader().version(&request.key, entry.modified)?)
            }
            Some(_) | None => None,
        };
        let value = match &previous {
            Some(previous) if request.ignore_value => previous.value.clone(),
            Some(_) | None => request.value.clone(),
        };
        let lease = match live {
            Some(entry) if request.ignore_lease => entry.lease,
            Some(_) | None => LeaseId(request.lease),
        };
        self.put_record(&request.key, value, lease, live);
        let prev_kv = previous
            .filter(|_| request.prev_kv)
            .map(|record| record.into_key_value(request.key.clone()));
        Ok(PutResponse { header: Some(self.header()), prev_kv })
    }

    fn put_record(&mut self, key: &Bytes, value: Bytes, lease: LeaseId, live: Option<IndexEntry>) {
        let modified = self.next_change();
        let entry = IndexEntry {
            created: live.map_or(modified.main, |entry| entry.created),
            modified,
            version: Version(live.map_or(0, |entry| entry.version.0) + 1),
            lease,
            value_len: u32::try_from(value.len()).expect("requests are below 4 GiB"),
            tombstone: false,
        };
        self.move_lease(key, live.map_or(LeaseId::NONE, |entry| entry.lease), lease);
        let record = VersionRecord {
            modified,
            tombstone: false,
            created: entry.created,
            version: entry.version,
            lease,
            value,
        };
        let kv = record.clone().into_key_value(key.clone());
        self.store(key, entry, record, live, EventKind::Put, kv);
    }

    /// Carries out a deletion.
    pub(crate) fn delete_range(
        &mut self,
        request: &DeleteRangeRequest,
    ) -> Result<DeleteRangeResponse, Fatal> {
        let range = KeyRange::new(request.key.clone(), request.range_end.clone());
        let doomed = self.live_keys(&range);
        let mut prev_kvs = Vec::new();
        if request.prev_kv {
            prev_kvs.reserve(doomed.len());
            let wanted = doomed.iter().map(|(key, entry)| (key, entry.modified));
            let mut keys = doomed.iter();
            self.reader().values(wanted, |record| {
                let (key, _) = keys.next().expect("one record per key");
                prev_kvs.push(record.into_key_value(key.clone()));
                Ok(())
            })?;
        }
        for (key, entry) in &doomed {
            self.delete(key, *entry);
        }
        Ok(DeleteRangeResponse {
            header: Some(self.header()),
            deleted: i64::try_from(doomed.len()).expect("keys are counted in memory"),
            prev_kvs,
        })
    }

    fn live_keys(&self, range: &KeyRange) -> Vec<(Bytes, IndexEntry)> {
        if let KeyRange::Single(key) = range {
            let entry = self.keyspace.index.get(key).filter(|entry| !entry.tombstone);
            return entry.map(|entry| (key.clone(), entry)).into_iter().collect();
        }
        self.keyspace.index.range(range).filter(|(_, entry)| !entry.tombstone).collect()
    }

    /// Deletes a key of a lease that is being revoked.
    pub(crate) fn delete_leased(&mut self, key: &Bytes) {
        let live = self.keyspace.index.get(key).filter(|entry| !entry.tombstone);
        self.delete(key, live.expect("a lease's keys live"));
    }

    /// Deletes a key that lives.
    fn delete(&mut self, key: &Bytes, live: IndexEntry) {
        let modified = self.next_change();
        let entry = IndexEntry {
            created: Revision(0),
            modified,
            version: Version(0),
            lease: LeaseId::NONE,
            value_len: 0,
            tombstone: true,
        };
        self.move_lease(key, live.lease, LeaseId::NONE);
        let record = VersionRecord {
            modified,
            tombstone: true,
            created: Revision(0),
            version: Version(0),
            lease: LeaseId::NONE,
            value: Bytes::new(),
        };
        let kv =
            KeyValue { key: key.clone(), mod_revision: modified.main.0, ..KeyValue::default() };
        self.store(key, entry, record, Some(live), EventKind::Delete, kv);
    }

    fn next_change(&self) -> RevisionKey {
        let sub = u32::try_from(self.events.len()).expect("a request has fewer changes");
        RevisionKey { main: self.main(), sub }
    }

    fn move_lease(&mut self, key: &Bytes, from: LeaseId, to: LeaseId) {
        if from != to {
            self.keyspace.leases.detach(from, key);
            self.keyspace.leases.attach(to, key);
        }
    }

    fn store(
        &mut self,
        key: &Bytes,
        entry: IndexEntry,
        record: VersionRecord,
        live: Option<IndexEntry>,
        kind: EventKind,
        kv: KeyValue,
    ) {
        let change = ChangeRecord {
            key: key.clone(),
            entry,
            previous: live.map(|live| Previous { at: live.modified, value_len: live.value_len }),
            hash: super::hash::change_hash(key, &entry, &record.value),
        };
        self.batch.put(Family::Versions, record.encode(key));
        self.batch.put(Family::Revisions, change.encode());
        self.keyspace.written += super::footprint(key.len(), record.value.len());
        self.keyspace.index.insert(key, entry);
        self.keyspace.changes += 1;
        self.batch.versions.push(PendingVersion { key: key.clone(), record });
        self.events.push(Event { kind, kv, previous: live.map(|live| live.modified) });
    }

    /// Carries out the chosen path of a transaction. The answer's own header is absent.
    pub(crate) fn txn(
        &mut self,
        request: &TxnRequest,
        path: &mut Path,
    ) -> Result<TxnResponse, Fatal> {
        let succeeded = path.step();
        let mut responses = Vec::new();
        for op in branch(request, succeeded) {
            let response = match &op.request {
                Some(Request::RequestRange(range)) => {
                    let answer =
                        RangePlan::respond(&self.reader(), range).map_err(|error| match error {
                            ReadError::Fatal(fatal) => fatal,
                            ReadError::Refused(refusal) => {
                                unreachable!("checked before the first operation: {refusal}")
                            }
                        })?;
                    Some(response_op::Response::ResponseRange(answer))
                }
                Some(Request::RequestPut(put)) => {
                    Some(response_op::Response::ResponsePut(self.put(put)?))
                }
                Some(Request::RequestDeleteRange(delete)) => {
                    Some(response_op::Response::ResponseDeleteRange(self.delete_range(delete)?))
                }
                Some(Request::RequestTxn(nested)) => {
                    let mut nested = self.txn(nested, path)?;
                    nested.header = Some(ResponseHeader::default());
                    Some(response_op::Response::ResponseTxn(nested))
                }
                None => None,
            };
            responses.push(ResponseOp { response });
        }
        Ok(TxnResponse { header: None, succeeded, responses })
    }
}
