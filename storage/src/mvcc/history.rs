//! Events of past revisions, for watchers that are behind.

use std::sync::Arc;

use super::hash::is_newest;
use super::index::IndexEntry;
use super::key_range::KeyRange;
use super::reader::Reader;
use crate::engine::{Engine, Family, Order};
use crate::error::{Fatal, ReadError};
use crate::event::{Event, EventBatch, EventKind};
use crate::schema::change::{self, ChangeRecord};
use crate::schema::checksum::corrupt;
use crate::schema::version;
use crate::types::{Revision, RevisionKey};
use crate::view::{EventPage, StoredVersion};
use vetch_proto::mvccpb::KeyValue;

/// See `ReadView::events`.
pub(crate) fn events<E: Engine>(
    reader: &Reader<'_, E>,
    range: &KeyRange,
    from: Revision,
    budget_bytes: usize,
    max_revisions: usize,
) -> Result<EventPage, ReadError> {
    reader.check_compacted(from)?;
    let mut page = EventPage { batches: Vec::new(), next: from.max(reader.revision.next()) };
    if from > reader.revision {
        return Ok(page);
    }
    let bounds = change::bounds(RevisionKey { main: from, sub: 0 }, reader.revision);
    let mut open = OpenBatch { revision: from, events: Vec::new() };
    let (mut bytes, mut revisions) = (0, 0);
    let mut seen = None;
    for item in reader.engine.scan(Family::Revisions, bounds, Order::Ascending) {
        let (key, value) = item.map_err(ReadError::Fatal)?;
        let change = ChangeRecord::decode(&key, &value)?;
        let main = change.entry.modified.main;
        if seen != Some(main) {
            open.close_into(&mut page.batches);
            if revisions >= max_revisions.max(1) || (bytes >= budget_bytes && revisions > 0) {
                page.next = main;
                return Ok(page);
            }
            open.revision = main;
            seen = Some(main);
            revisions += 1;
        }
        if range.contains(&change.key)
            && let Some(event) = event(reader, change)?
        {
            bytes += event.kv.key.len() + event.kv.value.len();
            open.events.push(event);
        }
    }
    open.close_into(&mut page.batches);
    Ok(page)
}

struct OpenBatch {
    revision: Revision,
    events: Vec<Event>,
}

impl OpenBatch {
    fn close_into(&mut self, batches: &mut Vec<Arc<EventBatch>>) {
        if !self.events.is_empty() {
            let events = std::mem::take(&mut self.events);
            batches.push(Arc::new(EventBatch { revision: self.revision, events }));
        }
    }
}

/// The event of a change; `None` if its version is gone, which only a compaction to its own revision
/// can have done (the transaction that made it wrote the key again).
fn event<E: Engine>(reader: &Reader<'_, E>, change: ChangeRecord) -> Result<Option<Event>, Fatal> {
    let modified = change.entry.modified;
    let previous = change.previous.map(|previous| previous.at);
    if change.entry.tombstone {
        let kv = KeyValue { key: change.key, mod_revision: modified.main.0, ..KeyValue::default() };
        return Ok(Some(Event { kind: EventKind::Delete, kv, previous }));
    }
    match reader.try_version(&change.key, modified)? {
        Some(record) => {
            let kv = record.into_key_value(change.key);
            Ok(Some(Event { kind: EventKind::Put, kv, previous }))
        }
        None if reader.compacted.is_some_and(|compacted| modified.main <= compacted) => Ok(None),
        None => Err(corrupt(
            Family::Versions,
            &version::engine_key(&change.key, modified),
            "the version its change record names",
            "nothing",
        )),
    }
}

/// See `ReadView::versions`.
pub(crate) fn versions<E: Engine>(
    reader: Reader<'_, E>,
) -> impl Iterator<Item = Result<StoredVersion, Fatal>> + Send {
    let bounds = change::bounds(RevisionKey::default(), reader.revision);
    let scan = reader.engine.scan(Family::Revisions, bounds, Order::Ascending);
    scan.filter_map(move |item| {
        let change = item.and_then(|(key, value)| ChangeRecord::decode(&key, &value));
        change.and_then(|change| stored_version(&reader, change)).transpose()
    })
}

/// The version of a change, unless the compacted revision says it is gone.
fn stored_version<E: Engine>(
    reader: &Reader<'_, E>,
    change: ChangeRecord,
) -> Result<Option<StoredVersion>, Fatal> {
    let revision = change.entry.modified;
    let tombstone = change.entry.tombstone;
    if !is_kept(reader, &change)? {
        return Ok(None);
    }
    // A deletion's record says nothing new, but it is read too: this is how a whole store is checked.
    let record = reader.version(&change.key, revision)?;
    let kv = if tombstone {
        KeyValue { key: change.key, ..KeyValue::default() }
    } else {
        record.into_key_value(change.key)
    };
    Ok(Some(StoredVersion { revision, tombstone, kv }))
}

/// Whether a change outlives the compactions so far, deleted already or not: of each key the newest
/// up to the compacted revision does, unless it is a deletion before that revision.
pub(crate) fn is_kept<E: Engine>(
    reader: &Reader<'_, E>,
    change: &ChangeRecord,
) -> Result<bool, Fatal> {
    let IndexEntry { modified, tombstone, .. } = change.entry;
    match reader.compacted {
        Some(compacted) if modified.main <= compacted => {
            let is_past = tombstone && modified.main < compacted;
            Ok(!is_past && is_newest(reader, change, compacted)?)
        }
        Some(_) | None => Ok(true),
    }
}
