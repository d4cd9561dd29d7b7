//! One consistent state to read from: an index, the engine behind it, and what the open batch has
//! written but the engine does not hold yet.

use std::ops::Bound;

use bytes::Bytes;

use super::index::{Index, IndexEntry};
use super::key_range::KeyRange;
use crate::engine::{Engine, Family, Order};
use crate::error::{ApplyError, Fatal};
use crate::schema::checksum::corrupt;
use crate::schema::user_key::is_long;
use crate::schema::version::{self, VersionRecord};
use crate::types::{Revision, RevisionKey};

/// A version that only the open batch holds.
#[derive(Clone, Debug)]
pub(crate) struct PendingVersion {
    pub(crate) key: Bytes,
    pub(crate) record: VersionRecord,
}

/// See the module's documentation.
///
/// **Invariant:** every live entry of `index` has its version in `pending` or in the engine; `pending`
/// ascends by revision and all of it is newer than anything in the engine.
#[derive(Debug)]
pub(crate) struct Reader<'a, E> {
    pub(crate) engine: &'a E,
    pub(crate) index: &'a Index,
    pub(crate) pending: &'a [PendingVersion],
    /// The newest readable revision; inside a transaction that has changed something, its own.
    pub(crate) revision: Revision,
    /// The compacted revision.
    pub(crate) compacted: Option<Revision>,
}

impl<E: Engine> Reader<'_, E> {
    /// The revision a request for `asked` reads at; zero and below mean the newest.
    pub(crate) fn resolve(&self, asked: i64) -> Result<Revision, ApplyError> {
        if asked <= 0 {
            return Ok(self.revision);
        }
        let asked = Revision(asked);
        if asked > self.revision {
            return Err(ApplyError::FutureRevision { current: self.revision });
        }
        self.check_compacted(asked)?;
        Ok(asked)
    }

    /// Refuses a revision below the compacted one.
    pub(crate) fn check_compacted(&self, asked: Revision) -> Result<(), ApplyError> {
        match self.compacted {
            Some(compact_revision) if asked < compact_revision => {
                Err(ApplyError::Compacted { compact_revision })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The index entry of a key that exists.
    pub(crate) fn live(&self, key: &[u8]) -> Option<IndexEntry> {
        self.index.get(key).filter(|entry| !entry.tombstone)
    }

    /// The version of `key` at exactly `at`; its absence is corruption.
    pub(crate) fn version(&self, key: &[u8], at: RevisionKey) -> Result<VersionRecord, Fatal> {
        self.try_version(key, at)?.ok_or_else(|| {
            corrupt(Family::Versions, &version::engine_key(key, at), "a version record", "nothing")
        })
    }

    /// The version of `key` at exactly `at`, if it is stored.
    pub(crate) fn try_version(
        &self,
        key: &[u8],
        at: RevisionKey,
    ) -> Result<Option<VersionRecord>, Fatal> {
        if let Some(record) = self.pending_version(at) {
            return Ok(Some(record.clone()));
        }
        let engine_key = version::engine_key(key, at);
        match self.engine.get(Family::Versions, &engine_key)? {
            Some(value) => Ok(Some(VersionRecord::decode(&engine_key, &value)?.0)),
            None => Ok(None),
        }
    }

    /// The version at `at` if only the open batch holds it.
    pub(crate) fn pending_version(&self, at: RevisionKey) -> Option<&VersionRecord> {
        // Almost every read asks for something older than the whole batch.
        if self.pending.first().is_none_or(|first| at < first.record.modified) {
            return None;
        }
        let found =
            self.pending.binary_search_by_key(&at, |pending| pending.record.modified).ok()?;
        Some(&self.pending[found].record)
    }

    /// The newest version of `key` that is not above `at`, tombstones included.
    pub(crate) fn newest_at(
        &self,
        key: &[u8],
        at: Revision,
    ) -> Result<Option<VersionRecord>, Fatal> {
        let pending = self.pending.iter().rev();
        if let Some(found) = pending
            .skip_while(|pending| pending.record.modified.main > at)
            .find(|pending| pending.key == key)
        {
            return Ok(Some(found.record.clone()));
        }
        let (first, last) = version::not_newer(key, at);
        let bounds = (Bound::Included(first), Bound::Included(last));
        for item in self.engine.scan(Family::Versions, bounds, Order::Ascending) {
            let (engine_key, value) = item?;
            let (record, long_key) = VersionRecord::decode(&engine_key, &value)?;
            // Long keys with one hash share a stem: pass over the other's versions.
            if long_key.is_none_or(|found| found == key) {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// The index entry `key` had at `at`, given the one it has now; `None` if it did not exist.
    pub(crate) fn entry_at(
        &self,
        key: &[u8],
        now: IndexEntry,
        at: Revision,
    ) -> Result<Option<IndexEntry>, Fatal> {
        if now.modified.main <= at {
            return Ok(Some(now).filter(|entry| !entry.tombstone));
        }
        let record = self.newest_at(key, at)?;
        Ok(record.filter(|record| !record.tombstone).map(|record| record.entry()))
    }

    /// The keys of `range` that have changed since `at`, in key order, each with whether it existed
    /// then. A key of the same life as now needs no look into the engine for that.
    pub(crate) fn undo_since(&self, range: &KeyRange, at: Revision) -> Result<Vec<Undo>, Fatal> {
        if at >= self.revision {
            return Ok(Vec::new());
        }
        self.index
            .changed_since(range, at)
            .map(|(key, now)| {
                let then = if !now.tombstone && now.created <= at {
                    Then::Existed
                } else {
                    self.entry_at(&key, now, at)?.map_or(Then::Absent, Then::Was)
                };
                Ok(Undo { key, now, then })
            })
            .collect()
    }

    /// Reads what each of these keys was at `at`.
    pub(crate) fn read_undo(&self, undo: &mut [Undo], at: Revision) -> Result<(), Fatal> {
        for undo in undo {
            if let Then::Existed = undo.then {
                let was = self.entry_at(&undo.key, undo.now, at)?.ok_or_else(|| {
                    let place = RevisionKey { main: at, sub: 0 };
                    let engine_key = version::engine_key(&undo.key, place);
                    corrupt(Family::Versions, &engine_key, "a version at or before it", "none")
                })?;
                undo.then = Then::Was(was);
            }
        }
        Ok(())
    }

    /// Gives the value of each of `wanted` (keys with the revisions of stored versions) to `take`.
    ///
    /// Keys in ascending order are read with one scan: neighbours lie together, and old versions
    /// between them are passed over by a new seek when there are many.
    pub(crate) fn values<'k>(
        &self,
        wanted: impl ExactSizeIterator<Item = (&'k Bytes, RevisionKey)>,
        mut take: impl FnMut(VersionRecord) -> Result<(), Fatal>,
    ) -> Result<(), Fatal> {
        /// Fewer rows than this are cheaper to get one by one.
        const SCAN_FROM: usize = 4;
        /// Passing over more pairs than this costs more than a seek.
        const PASS_OVER: usize = 8;

        if wanted.len() < SCAN_FROM {
            for (key, at) in wanted {
                take(self.version(key, at)?)?;
            }
            return Ok(());
        }
        let mut scan = None;
        let mut last_key: Option<Bytes> = None;
        for (key, at) in wanted {
            // A scan only helps forward; long keys and open writes are not where a scan would pass.
            let ascending = last_key.as_ref().is_none_or(|last| last < key);
            last_key = Some(key.clone());
            if !ascending || self.pending_version(at).is_some() || is_long(key) {
                take(self.version(key, at)?)?;
                continue;
            }
            let engine_key = version::engine_key(key, at);
            let mut found = None;
            if let Some(open) = &mut scan {
                found = pass_to(open, &engine_key, PASS_OVER)?;
            }
            if found.is_none() {
                let bounds = (Bound::Included(engine_key.clone()), Bound::Unbounded);
                let mut fresh = self.engine.scan(Family::Versions, bounds, Order::Ascending);
                found = pass_to(&mut fresh, &engine_key, 1)?;
                scan = Some(fresh);
            }
            match found {
                Some(value) => take(VersionRecord::decode(&engine_key, &value)?.0)?,
                None => {
                    return Err(corrupt(
                        Family::Versions,
                        &engine_key,
                        "a version record",
                        "nothing",
                    ));
                }
            }
        }
        Ok(())
    }
}

/// What a key was at an older revision.
#[derive(Clone, Debug)]
pub(crate) struct Undo {
    pub(crate) key: Bytes,
    pub(crate) now: IndexEntry,
    pub(crate) then: Then,
}

/// See [`Undo`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Then {
    /// It did not exist.
    Absent,
    /// It existed; its record has not been read.
    Existed,
    /// It was this.
    Was(IndexEntry),
}

impl Then {
    pub(crate) fn existed(self) -> bool {
        match self {
            Self::Absent => false,
            Self::Existed | Self::Was(_) => true,
        }
    }
}

/// Advances a scan by at most `steps` pairs to `key`; `None` if it did not come up.
fn pass_to(
    scan: &mut crate::engine::Scan<'_>,
    key: &Bytes,
    steps: usize,
) -> Result<Option<Bytes>, Fatal> {
    for item in scan.take(steps) {
        let (found, value) = item?;
        if found == key {
            return Ok(Some(value));
        }
        if found > key {
            // Whoever comes next may be what was just taken from the scan: the caller seeks anew.
            return Ok(None);
        }
    }
    Ok(None)
}
