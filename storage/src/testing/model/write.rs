//! Puts and deletions.

use bytes::Bytes;
use vetch_proto::etcdserverpb::{
    DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, ResponseHeader,
};
use vetch_proto::mvccpb::KeyValue;

use super::Model;
use super::history::Record;
use crate::error::ApplyError;
use crate::event::{Event, EventKind};
use crate::types::{LeaseId, Revision, RevisionKey};

/// Only `revision` is the store's business; the rest is filled in by the member that answers.
pub(super) fn header(revision: Revision) -> ResponseHeader {
    ResponseHeader { revision: revision.0, ..ResponseHeader::default() }
}

impl Model {
    /// §1: the current revision until a transaction has changed something, the one it takes after.
    pub(super) fn revision_in(&self, changes: &[Event]) -> Revision {
        if changes.is_empty() { self.revision } else { Revision(self.revision.0 + 1) }
    }

    /// §1: all changes of a transaction have one main revision, and subs 0, 1, 2.. in order.
    fn next_place(&self, changes: &[Event]) -> RevisionKey {
        let sub = u32::try_from(changes.len()).expect("a test's transactions are small");
        RevisionKey { main: Revision(self.revision.0 + 1), sub }
    }

    /// §1: a put needs the lease it names, and, to keep something, the key it keeps it of.
    pub(super) fn check_put(&self, request: &PutRequest) -> Result<(), ApplyError> {
        let lease = LeaseId(request.lease);
        if lease.0 != 0 && !self.leases.contains_key(&lease) {
            return Err(ApplyError::LeaseNotFound(lease));
        }
        let keeps = request.ignore_value || request.ignore_lease;
        if keeps && self.current(&request.key).is_none() {
            return Err(ApplyError::KeyNotFound);
        }
        Ok(())
    }

    /// §1: a put of an equal value is a change like any other. `create_revision` is the revision of
    /// the put that made the key, `version` counts the puts since.
    ///
    /// §7: the key hangs on the lease its last put named, on none if that named none.
    pub(super) fn put(&mut self, request: &PutRequest, changes: &mut Vec<Event>) -> PutResponse {
        let at = self.next_place(changes);
        let before = self.current(&request.key).cloned();
        let mut kv = KeyValue {
            key: request.key.clone(),
            create_revision: at.main.0,
            mod_revision: at.main.0,
            version: 1,
            value: request.value.clone(),
            lease: request.lease,
        };
        // Absent although something of it is to be kept: this transaction has deleted it. etcd does
        // not survive that; here the request's own value and lease count.
        if let Some(before) = &before {
            kv.create_revision = before.create_revision;
            kv.version = before.version + 1;
            if request.ignore_value {
                kv.value = before.value.clone();
            }
            if request.ignore_lease {
                kv.lease = before.lease;
            }
        }
        self.change(at, &request.key, Some(kv), changes);
        PutResponse {
            header: Some(header(self.revision_in(changes))),
            prev_kv: before.filter(|_| request.prev_kv),
        }
    }

    /// §1: a deletion of nothing is no change. Keys go in byte order, each with a sub of its own.
    pub(super) fn delete_range(
        &mut self,
        request: &DeleteRangeRequest,
        changes: &mut Vec<Event>,
    ) -> DeleteRangeResponse {
        let doomed: Vec<KeyValue> =
            self.state_now(&request.key, &request.range_end).into_iter().cloned().collect();
        for kv in &doomed {
            self.delete(&kv.key, changes);
        }
        DeleteRangeResponse {
            header: Some(header(self.revision_in(changes))),
            deleted: i64::try_from(doomed.len()).expect("a test's stores are small"),
            prev_kvs: if request.prev_kv { doomed } else { Vec::new() },
        }
    }

    /// §1: a deletion leaves a tombstone at its own revision.
    pub(super) fn delete(&mut self, key: &Bytes, changes: &mut Vec<Event>) {
        let at = self.next_place(changes);
        self.change(at, key, None, changes);
    }

    fn change(
        &mut self,
        at: RevisionKey,
        key: &Bytes,
        put: Option<KeyValue>,
        changes: &mut Vec<Event>,
    ) {
        let history = self.histories.entry(key.clone()).or_default();
        let previous = history.last().filter(|last| last.put.is_some()).map(|last| last.at);
        let kind = if put.is_some() { EventKind::Put } else { EventKind::Delete };
        // §6: the event of a deletion has nothing but key and revision.
        let kv = put.clone().unwrap_or_else(|| KeyValue {
            key: key.clone(),
            mod_revision: at.main.0,
            ..KeyValue::default()
        });
        history.push(Record { at, put });
        changes.push(Event { kind, kv, previous });
    }
}
