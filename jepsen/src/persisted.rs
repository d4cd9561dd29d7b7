//! The order of events the store persisted, and the states it went through.

use crate::history::{Blob, Event, KeyRange, KeyValue, Revision};
use crate::store::Store;
use std::collections::BTreeMap;

/// Every event of a store by revision, as told by a watch from the past once the run is over.
///
/// It is evidence, not truth: [`crate::durability`] holds it against what clients were told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PersistedLog {
    by_revision: BTreeMap<Revision, Vec<Event>>,
    compacted: Revision,
}

impl PersistedLog {
    /// From events in the order the store tells them.
    pub fn from_events(events: impl IntoIterator<Item = Event>) -> Self {
        let mut log = Self::default();
        for event in events {
            log.push(event);
        }
        log
    }

    /// Appends an event.
    pub fn push(&mut self, event: Event) {
        self.by_revision.entry(event.revision()).or_default().push(event);
    }

    /// Notes that the store has been asked to forget what was superseded by `revision`. The log
    /// goes on to hold everything; only what the store can still tell becomes less.
    pub fn compacted_at(&mut self, revision: Revision) {
        self.compacted = self.compacted.max(revision);
    }

    /// The newest compaction, 0 if there was none.
    pub fn compacted(&self) -> Revision {
        self.compacted
    }

    /// The events of one revision, in execution order.
    pub fn at(&self, revision: Revision) -> &[Event] {
        self.by_revision.get(&revision).map_or(&[], Vec::as_slice)
    }

    /// Replaces the events of one revision; for tests that plant a violation.
    pub fn replace(&mut self, revision: Revision, events: Vec<Event>) {
        if events.is_empty() {
            self.by_revision.remove(&revision);
        } else {
            self.by_revision.insert(revision, events);
        }
    }

    /// All events in persisted order.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.by_revision.values().flatten()
    }

    /// The revisions that changed something.
    pub fn revisions(&self) -> impl DoubleEndedIterator<Item = Revision> {
        self.by_revision.keys().copied()
    }

    /// The newest revision; that of an empty store if there is none.
    pub fn last(&self) -> Revision {
        self.revisions().next_back().unwrap_or(Revision::EMPTY_STORE)
    }
}

/// Every version of every key, computed from the events alone.
///
/// Metadata is computed, not copied: what the events claim about creation and version is checked
/// against this.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    versions: BTreeMap<Blob, Vec<(Revision, Option<KeyValue>)>>,
    last: Revision,
}

impl Replay {
    /// Replays a log that begins with an empty store.
    pub fn new(log: &PersistedLog) -> Self {
        let mut store = Store::default();
        let mut replay = Self { last: log.last(), ..Self::default() };
        for event in log.events() {
            store.replay(event);
            let live = store.get(&event.kv.key).cloned();
            let versions = replay.versions.entry(event.kv.key.clone()).or_default();
            versions.push((event.revision(), live));
        }
        replay
    }

    /// The newest revision replayed.
    pub fn last(&self) -> Revision {
        self.last
    }

    /// The key as of `revision`.
    pub fn key_at(&self, key: &Blob, revision: Revision) -> Option<&KeyValue> {
        let versions = self.versions.get(key)?;
        let newer = versions.partition_point(|(at, _)| *at <= revision);
        versions.get(newer.checked_sub(1)?)?.1.as_ref()
    }

    /// The live keys of a range as of `revision`, in key order.
    pub fn range_at(&self, range: &KeyRange, revision: Revision) -> Vec<KeyValue> {
        self.versions
            .keys()
            .filter(|key| range.contains(key))
            .filter_map(|key| self.key_at(key, revision).cloned())
            .collect()
    }
}
