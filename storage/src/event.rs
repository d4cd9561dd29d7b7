//! What watchers see of a transaction.

use bytes::Bytes;
use vetch_proto::mvccpb::KeyValue;

use crate::types::{Revision, RevisionKey};

/// Whether a key was written or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The key was written; the event carries the whole record.
    Put,
    /// The key was deleted; the event carries key and revision only.
    Delete,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Written or deleted.
    pub kind: EventKind,
    /// The record as of this change. Of a deletion: `key` and `mod_revision` only, as on the wire.
    pub kv: KeyValue,
    /// Where the key's previous record is, if it existed: lets `prev_kv` be read with one get.
    pub previous: Option<RevisionKey>,
}

impl Event {
    /// The changed key.
    pub fn key(&self) -> &Bytes {
        &self.kv.key
    }

    /// Whether the key did not exist before.
    pub fn is_create(&self) -> bool {
        self.kind == EventKind::Put && self.kv.create_revision == self.kv.mod_revision
    }
}

/// All events of one revision, in execution order.
///
/// **Invariant:** `events` is not empty, and every event's `mod_revision` is `revision`.
#[derive(Clone, Debug, PartialEq)]
pub struct EventBatch {
    /// The transaction's revision.
    pub revision: Revision,
    /// The changes, in execution order.
    pub events: Vec<Event>,
}
