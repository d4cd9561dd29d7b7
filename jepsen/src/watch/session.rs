//! What one watcher asked for and was sent.

use crate::history::{Event, EventKind, KeyRange, Revision, Stamp};
use serde::{Deserialize, Serialize};

/// Kinds of events a watcher does not want.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Filter {
    /// No puts.
    NoPut,
    /// No deletes.
    NoDelete,
}

/// A watch create request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchSpec {
    /// The watched keys.
    pub range: KeyRange,
    /// First revision wanted; `None` means from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Revision>,
    /// Unwanted kinds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<Filter>,
    /// Wants the key before each event.
    #[serde(default)]
    pub prev_kv: bool,
    /// Wants periodic progress.
    #[serde(default)]
    pub progress_notify: bool,
    /// Allows big responses to be split.
    #[serde(default)]
    pub fragment: bool,
}

impl WatchSpec {
    /// A plain watch of a range from now on.
    pub fn new(range: KeyRange) -> Self {
        Self {
            range,
            start: None,
            filters: Vec::new(),
            prev_kv: false,
            progress_notify: false,
            fragment: false,
        }
    }

    /// True if the watcher wants the event.
    pub fn wants(&self, event: &Event) -> bool {
        let unwanted = match event.kind {
            EventKind::Put => Filter::NoPut,
            EventKind::Delete => Filter::NoDelete,
        };
        self.range.contains(&event.kv.key) && !self.filters.contains(&unwanted)
    }
}

/// One message of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchRecord {
    /// When it came.
    pub received: Stamp,
    /// `header.revision`.
    pub revision: Revision,
    /// The rest.
    pub response: WatchResponse,
}

/// What the message says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WatchResponse {
    /// The watch exists; without a start revision it begins after the header's.
    Created,
    /// Events.
    Events {
        /// In the order sent.
        events: Vec<Event>,
        /// The rest of this response follows in the next message.
        #[serde(default)]
        fragment: bool,
    },
    /// Every event up to the header's revision has been sent.
    Progress,
    /// The watch has ended.
    Canceled {
        /// Non-zero if the watched history is gone.
        compact_revision: Revision,
        /// In the server's words.
        reason: String,
    },
}

/// One watch on one connection. A watcher that reconnects begins a new session from the revision
/// after the last event it has seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchSession {
    /// Unique in the run.
    pub id: u64,
    /// What was asked.
    pub spec: WatchSpec,
    /// What was sent, in order.
    pub records: Vec<WatchRecord>,
}

impl WatchSession {
    /// The first revision this watch promises to tell, once that is known.
    pub fn first_revision(&self) -> Option<Revision> {
        self.spec.start.or_else(|| {
            self.records.iter().find_map(|record| {
                (record.response == WatchResponse::Created).then(|| record.revision.next())
            })
        })
    }

    /// The events in the order sent.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.records.iter().flat_map(|record| match &record.response {
            WatchResponse::Events { events, .. } => events.as_slice(),
            WatchResponse::Created | WatchResponse::Progress | WatchResponse::Canceled { .. } => {
                &[]
            }
        })
    }
}
