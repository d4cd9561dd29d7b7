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

/// Events of one revision with the view they became visible in: previous records are read from it
/// only if a watcher asks, and it keeps compaction from deleting them meanwhile.
#[derive(Debug)]
pub struct SharedBatch<E: Engine> {
    batch: Arc<EventBatch>,
    view: ReadView<E>,
    encoded: Vec<EncodedEvent>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct EncodedEvent {
    plain: OnceLock<Bytes>,
    with_previous: OnceLock<Bytes>,
}

impl<E: Engine> SharedBatch<E> {
    /// A batch as `view` shows it.
    pub fn new(batch: Arc<EventBatch>, view: ReadView<E>) -> Self {
        let encoded = batch.events.iter().map(|_| EncodedEvent::default()).collect();
        let bytes = batch.events.iter().map(event_bytes).sum();
        Self { batch, view, encoded, bytes }
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
    pub fn encoded(&self, position: usize, with_previous: bool) -> Result<Bytes, Fatal> {
        let (Some(event), Some(encoded)) =
            (self.batch.events.get(position), self.encoded.get(position))
        else {
            unreachable!("positions come from the batch's own events")
        };
        let slot = if with_previous { &encoded.with_previous } else { &encoded.plain };
        if let Some(bytes) = slot.get() {
            return Ok(bytes.clone());
        }
        let previous = if with_previous { self.previous(event)? } else { None };
        let bytes = encode(event, previous);
        // Another thread may have been faster; both have written the same.
        Ok(slot.get_or_init(|| bytes).clone())
    }

    fn previous(&self, event: &Event) -> Result<Option<KeyValue>, Fatal> {
        match event.previous {
            Some(at) => self.view.record(event.key(), at),
            None => Ok(None),
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
