//! A revision's events, encoded once for all watchers that get them.

use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use vetch_proto::mvccpb::event::EventType;
use vetch_proto::mvccpb::{Event as EventMessage, KeyValue};
use vetch_storage::{Engine, Event, EventBatch, EventKind, Fatal, ReadView, Revision};

/// The number of `WatchResponse.events`.
const EVENTS_FIELD: u32 = 11;

/// Events of one revision. It holds no view: one that waits for a slow client, or lies in the event
/// log, must not keep compaction from deleting.
#[derive(Debug)]
pub struct SharedBatch {
    batch: Arc<EventBatch>,
    encoded: Vec<EncodedEvent>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct EncodedEvent {
    plain: OnceLock<Bytes>,
    with_previous: OnceLock<Bytes>,
}

impl SharedBatch {
    /// A batch of which nothing is encoded yet.
    pub fn new(batch: Arc<EventBatch>) -> Self {
        let encoded = batch.events.iter().map(|_| EncodedEvent::default()).collect();
        let bytes = batch.events.iter().map(event_bytes).sum();
        Self { batch, encoded, bytes }
    }

    /// The revision of all its events.
    pub fn revision(&self) -> Revision {
        self.batch.revision
    }

    /// The events, in execution order.
    pub fn events(&self) -> &[Event] {
        &self.batch.events
    }

    /// About how much memory it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Event number `position` as a field of a WatchResponse, tag and length included.
    /// The previous record is read from `history`, when asked for.
    pub fn encoded<E: Engine>(
        &self,
        position: usize,
        history: Option<&ReadView<E>>,
    ) -> Result<Bytes, Fatal> {
        let (Some(event), Some(encoded)) =
            (self.batch.events.get(position), self.encoded.get(position))
        else {
            unreachable!("positions come from the batch's own events")
        };
        let slot = if history.is_some() { &encoded.with_previous } else { &encoded.plain };
        if let Some(bytes) = slot.get() {
            return Ok(bytes.clone());
        }
        let previous = match history {
            Some(view) => self.previous(event, view)?,
            None => None,
        };
        let bytes = encode(event, previous);
        // Another thread may have been faster; both have written the same.
        Ok(slot.get_or_init(|| bytes).clone())
    }

    /// The record as of the revision before; absent once that is compacted, as in etcd.
    fn previous<E: Engine>(
        &self,
        event: &Event,
        view: &ReadView<E>,
    ) -> Result<Option<KeyValue>, Fatal> {
        let before = Revision(self.revision().get() - 1);
        let is_compacted = view.compact_revision().is_some_and(|compacted| before < compacted);
        match event.previous {
            Some(at) if !is_compacted => view.record(event.key(), at),
            Some(_) | None => Ok(None),
        }
    }
}

fn event_bytes(event: &Event) -> usize {
    const OVERHEAD: usize = 128;
    event.kv.key.len() + event.kv.value.len() + OVERHEAD
}

fn encode(event: &Event, previous: Option<KeyValue>) -> Bytes {
    let kind = match event.kind {
        EventKind::Put => EventType::Put,
        EventKind::Delete => EventType::Delete,
    };
    let message =
        EventMessage { r#type: kind.into(), kv: Some(event.kv.clone()), prev_kv: previous };
    let len = message.encoded_len();
    let mut field = BytesMut::with_capacity(len + 8);
    encode_key(EVENTS_FIELD, WireType::LengthDelimited, &mut field);
    encode_varint(len as u64, &mut field);
    message.encode_raw(&mut field);
    field.freeze()
}
