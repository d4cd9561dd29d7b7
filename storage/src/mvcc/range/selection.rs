//! The keys a request is about, as they were at its revision.

use bytes::Bytes;
use vetch_proto::etcdserverpb::RangeRequest;

use crate::engine::Engine;
use crate::error::Fatal;
use crate::mvcc::index::{Index, IndexEntry};
use crate::mvcc::key_range::KeyRange;
use crate::mvcc::reader::{Reader, Then, Undo};
use crate::types::Revision;

/// One record of an answer.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) key: Bytes,
    pub(super) entry: IndexEntry,
    /// Read already, because the order depends on it.
    pub(super) value: Option<Bytes>,
}

/// Bounds on revisions; 0 is no bound.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filters {
    min_mod: i64,
    max_mod: i64,
    min_create: i64,
    max_create: i64,
}

impl Filters {
    pub(super) fn of(request: &RangeRequest) -> Self {
        Self {
            min_mod: request.min_mod_revision,
            max_mod: request.max_mod_revision,
            min_create: request.min_create_revision,
            max_create: request.max_create_revision,
        }
    }

    pub(super) fn any(self) -> bool {
        [self.min_mod, self.max_mod, self.min_create, self.max_create]
            .iter()
            .any(|bound| *bound != 0)
    }

    fn pass(self, entry: &IndexEntry) -> bool {
        let (modified, created) = (entry.modified.main.0, entry.created.0);
        (self.min_mod == 0 || modified >= self.min_mod)
            && (self.max_mod == 0 || modified <= self.max_mod)
            && (self.min_create == 0 || created >= self.min_create)
            && (self.max_create == 0 || created <= self.max_create)
    }
}

/// The keys of a range at a revision, as an iterator over the index.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    pub(super) range: KeyRange,
    pub(super) at: Revision,
    /// What changed since `at`, by key.
    pub(super) undo: Vec<Undo>,
    pub(super) filters: Filters,
}

impl Selection {
    /// Rows of `range` (a rest of `self.range`) in key order. What changed keys among them were has
    /// been read, see [`resolve`](Self::resolve).
    pub(super) fn rows<'a>(
        &'a self,
        index: &'a Index,
        range: &KeyRange,
    ) -> impl Iterator<Item = Row> + 'a {
        index.range(range).filter_map(|(key, now)| {
            let entry = match self.then(&key, now) {
                Then::Absent => return None,
                Then::Was(entry) => entry,
                Then::Existed => unreachable!("read before the rows are"),
            };
            self.filters.pass(&entry).then_some(Row { key, entry, value: None })
        })
    }

    fn then(&self, key: &Bytes, now: IndexEntry) -> Then {
        if now.modified.main > self.at {
            let found = self.undo.binary_search_by(|undo| undo.key.cmp(key));
            return self.undo[found.expect("every changed key is in the list")].then;
        }
        if now.tombstone { Then::Absent } else { Then::Was(now) }
    }

    /// Reads what changed keys were, as far as the first `rows` rows need it.
    pub(super) fn resolve<E: Engine>(
        &mut self,
        reader: &Reader<'_, E>,
        rows: usize,
    ) -> Result<(), Fatal> {
        if self.undo.is_empty() {
            return Ok(());
        }
        let mut needed = self.undo.len();
        if rows != usize::MAX {
            let mut keys = reader
                .index
                .range(&self.range)
                .filter(|(key, now)| self.then(key, *now).existed())
                .map(|(key, _)| key);
            if let Some(last) = keys.nth(rows.saturating_sub(1)) {
                needed = self.undo.partition_point(|undo| undo.key <= last);
            }
        }
        reader.read_undo(&mut self.undo[..needed], self.at)
    }

    /// Keys in the range at the revision, filters aside.
    pub(super) fn count(&self, index: &Index) -> u64 {
        let lived = self.undo.iter().filter(|undo| undo.then.existed()).count() as u64;
        let live = self.undo.iter().filter(|undo| !undo.now.tombstone).count() as u64;
        index.count(&self.range) + lived - live
    }
}
