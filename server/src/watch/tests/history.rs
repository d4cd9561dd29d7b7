//! What happened to the keys, by the obvious model: a map, and a list of everything that was done to it.

use std::collections::BTreeMap;

use bytes::Bytes;
use vetch_proto::etcdserverpb::request_op::Request;
use vetch_proto::etcdserverpb::{DeleteRangeRequest, PutRequest, RequestOp, TxnRequest};
use vetch_proto::mvccpb::{Event, KeyValue, event::EventType};
use vetch_proto::vetchpb::proposal::Command;

/// One change.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) revision: i64,
    /// As a watcher with `prev_kv` gets it while nothing is compacted.
    pub(super) event: Event,
}

impl Change {
    pub(super) fn key(&self) -> &[u8] {
        self.event.kv.as_ref().map_or(&[], |kv| &kv.key)
    }

    pub(super) fn is_put(&self) -> bool {
        self.event.r#type == i32::from(EventType::Put)
    }
}

/// One write of a transaction: a value, or the key's end.
pub(super) type Write = (Bytes, Option<Bytes>);

#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) revision: i64,
    /// The oldest revision that can be watched from; 0 before any compaction.
    pub(super) compacted: i64,
    pub(super) changes: Vec<Change>,
    keys: BTreeMap<Bytes, KeyValue>,
}

impl Default for History {
    fn default() -> Self {
        Self { revision: 1, compacted: 0, changes: Vec::new(), keys: BTreeMap::new() }
    }
}

impl History {
    /// All writes of one transaction. One that changes nothing has no revision.
    pub(super) fn write(&mut self, writes: &[Write]) {
        let (revision, before) = (self.revision + 1, self.changes.len());
        for (key, value) in writes {
            let previous = self.keys.get(key).cloned();
            let event = match value {
                Some(value) => {
                    let created = previous.as_ref().map_or(revision, |kv| kv.create_revision);
                    let record = KeyValue {
                        key: key.clone(),
                        create_revision: created,
                        mod_revision: revision,
                        version: previous.as_ref().map_or(1, |kv| kv.version + 1),
                        value: value.clone(),
                        lease: 0,
                    };
                    self.keys.insert(key.clone(), record.clone());
                    Event { r#type: EventType::Put.into(), kv: Some(record), prev_kv: previous }
                }
                None if previous.is_none() => continue,
                None => {
                    self.keys.remove(key);
                    let end = KeyValue {
                        key: key.clone(),
                        mod_revision: revision,
                        ..KeyValue::default()
                    };
                    Event { r#type: EventType::Delete.into(), kv: Some(end), prev_kv: previous }
                }
            };
            self.changes.push(Change { revision, event });
        }
        if self.changes.len() > before {
            self.revision = revision;
        }
    }

    /// The keys from `start` until `end` that exist.
    pub(super) fn keys_in(&self, start: &[u8], end: &[u8]) -> Vec<Bytes> {
        let inside = |key: &&Bytes| start <= key.as_ref() && key.as_ref() < end;
        self.keys.keys().filter(inside).cloned().collect()
    }
}

/// The request that does these writes.
pub(super) fn command(writes: &[Write]) -> Command {
    let op = |(key, value): &Write| match value {
        Some(value) => Request::RequestPut(PutRequest {
            key: key.clone(),
            value: value.clone(),
            ..PutRequest::default()
        }),
        None => Request::RequestDeleteRange(delete(key.clone(), Bytes::new())),
    };
    match writes {
        [write] => match op(write) {
            Request::RequestPut(put) => Command::Put(put),
            Request::RequestDeleteRange(delete) => Command::DeleteRange(delete),
            Request::RequestRange(_) | Request::RequestTxn(_) => unreachable!("it is a write"),
        },
        many => Command::Txn(TxnRequest {
            success: many.iter().map(|write| RequestOp { request: Some(op(write)) }).collect(),
            ..TxnRequest::default()
        }),
    }
}

pub(super) fn delete(key: Bytes, range_end: Bytes) -> DeleteRangeRequest {
    DeleteRangeRequest { key, range_end, prev_kv: false }
}
