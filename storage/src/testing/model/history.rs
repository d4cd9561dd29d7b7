//! Records, what compaction leaves of them, events.

use bytes::Bytes;
use vetch_proto::mvccpb::KeyValue;

use super::Model;
use crate::error::ApplyError;
use crate::event::{Event, EventBatch, EventKind};
use crate::types::{Revision, RevisionKey};
use crate::view::StoredVersion;

/// One change of one key.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) at: RevisionKey,
    /// The key as of then; `None` if this deleted it.
    pub(super) put: Option<KeyValue>,
}

/// §2: `range_end` empty names one key, a zero byte everything from `start` on, anything else the
/// keys from `start` up to but without it.
pub(super) fn covers(start: &[u8], range_end: &[u8], key: &[u8]) -> bool {
    match range_end {
        b"" => key == start,
        b"\0" => key >= start,
        end => start <= key && key < end,
    }
}

impl Model {
    /// The newest change of a key, deletions included, that is not above `at`.
    fn newest(history: &[Record], at: Revision) -> Option<&Record> {
        history.iter().rev().find(|record| record.at.main <= at)
    }

    /// §2: the keys of a range as they were at a revision, in key order.
    pub(super) fn state_at(&self, start: &[u8], range_end: &[u8], at: Revision) -> Vec<&KeyValue> {
        self.histories
            .iter()
            .filter(|(key, _)| covers(start, range_end, key))
            .filter_map(|(_, history)| Self::newest(history, at)?.put.as_ref())
            .collect()
    }

    /// The keys of a range as they are, changes of an open transaction included.
    pub(super) fn state_now(&self, start: &[u8], range_end: &[u8]) -> Vec<&KeyValue> {
        self.state_at(start, range_end, Revision(i64::MAX))
    }

    /// A key as it is.
    pub(super) fn current(&self, key: &[u8]) -> Option<&KeyValue> {
        self.histories.get(key)?.last()?.put.as_ref()
    }

    /// Every change, in the order of history.
    pub(super) fn changes(&self) -> Vec<(&Bytes, &Record)> {
        let all = self.histories.iter();
        let mut all: Vec<_> = all
            .flat_map(|(key, history)| history.iter().map(move |record| (key, record)))
            .collect();
        all.sort_by_key(|(_, record)| record.at);
        all
    }

    /// §4: of each key everything after the compacted revision stays, and of the rest the newest
    /// change, unless that is a deletion before the compacted revision.
    pub(super) fn survives(&self, key: &[u8], at: RevisionKey, compacted: Revision) -> bool {
        let Some(history) = self.histories.get(key) else { return false };
        let newest = Self::newest(history, compacted);
        at.main > compacted
            || newest.is_some_and(|newest| {
                newest.at == at && (newest.put.is_some() || at.main == compacted)
            })
    }

    /// §4, §6: a read or watch from below the compacted revision is refused, one from it is not.
    pub(super) fn check_compacted(&self, asked: Revision) -> Result<(), ApplyError> {
        match self.compactions.last() {
            Some(&compact_revision) if asked < compact_revision => {
                Err(ApplyError::Compacted { compact_revision })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// §6: the events of a range from a revision on, by revision and, in one, in the order of
    /// operations; revisions without an event in the range are left out.
    ///
    /// A put at the compacted revision that a later operation of the same transaction superseded is
    /// gone once the compaction's deletions are `deleted`; until then it may be seen. Deletions at the
    /// compacted revision are always seen.
    pub fn events(
        &self,
        start: &[u8],
        range_end: &[u8],
        from: Revision,
        deleted: bool,
    ) -> Result<Vec<EventBatch>, ApplyError> {
        self.check_compacted(from)?;
        let mut batches: Vec<EventBatch> = Vec::new();
        for (key, record) in self.changes() {
            let revision = record.at.main;
            if revision < from || !covers(start, range_end, key) {
                continue;
            }
            if deleted && !self.is_stored(key, record) {
                continue;
            }
            let event = self.event(key, record);
            match batches.last_mut().filter(|batch| batch.revision == revision) {
                Some(batch) => batch.events.push(event),
                None => batches.push(EventBatch { revision, events: vec![event] }),
            }
        }
        Ok(batches)
    }

    /// §6: a put carries the whole record as of then, a deletion the key and its revision alone.
    fn event(&self, key: &Bytes, record: &Record) -> Event {
        let history = &self.histories[key];
        let before = history.iter().rev().find(|older| older.at < record.at);
        let previous = before.filter(|older| older.put.is_some()).map(|older| older.at);
        if let Some(kv) = &record.put {
            return Event { kind: EventKind::Put, kv: kv.clone(), previous };
        }
        let mod_revision = record.at.main.0;
        let kv = KeyValue { key: key.clone(), mod_revision, ..KeyValue::default() };
        Event { kind: EventKind::Delete, kv, previous }
    }

    /// §6: what `prev_kv` shows: the record of a key at exactly one place, compacted or not.
    pub fn record(&self, key: &[u8], at: RevisionKey) -> Option<KeyValue> {
        let history = self.histories.get(key)?;
        history.iter().find(|record| record.at == at)?.put.clone()
    }

    /// §4: whether a compaction up to now leaves the change of `key` at `at`.
    pub fn is_kept(&self, key: &[u8], at: RevisionKey) -> bool {
        self.survives(key, at, self.compact_mark())
    }

    /// §4: what is on disk when compaction has deleted all it may: what it leaves, and the deletions at
    /// the compacted revision even if the key was written again right there.
    fn is_stored(&self, key: &[u8], record: &Record) -> bool {
        let is_deletion_at_mark = record.put.is_none() && record.at.main == self.compact_mark();
        is_deletion_at_mark || self.is_kept(key, record.at)
    }

    /// The key of every change that is on disk then, and the length of its value.
    pub fn stored(&self) -> Vec<(Bytes, usize)> {
        let stored = self.changes().into_iter().filter(|(key, record)| self.is_stored(key, record));
        stored
            .map(|(key, record)| (key.clone(), record.put.as_ref().map_or(0, |kv| kv.value.len())))
            .collect()
    }

    /// §4: everything compaction leaves, in the order of history.
    pub fn versions(&self) -> Vec<StoredVersion> {
        self.changes()
            .into_iter()
            .filter(|(key, record)| self.is_kept(key, record.at))
            .map(|(key, record)| StoredVersion {
                revision: record.at,
                tombstone: record.put.is_none(),
                kv: match &record.put {
                    Some(kv) => kv.clone(),
                    None => KeyValue { key: key.clone(), ..KeyValue::default() },
                },
            })
            .collect()
    }
}
