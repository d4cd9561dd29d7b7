//! How far background deletion is, as it is stored.

use bytes::Bytes;

use crate::engine::{Change, Engine, Family};
use crate::error::Fatal;
use crate::mvcc::hash::Hasher;
use crate::mvcc::index::Index;
use crate::mvcc::key_range::KeyRange;
use crate::schema::state::{self, Reclaim, ScheduledCompaction, StateKey};
use crate::types::{Revision, RevisionKey};

/// How far background deletion is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReclaimState {
    pub(super) finished: Revision,
    pub(super) job: Option<Job>,
    pub(super) reclaimed: u64,
}

/// One compaction at work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    pub(super) target: Revision,
    pub(super) previous: Revision,
    pub(super) cursor: RevisionKey,
    /// Being taken; once it is stored, deletion begins.
    pub(super) hash: Option<Hasher>,
}

impl ReclaimState {
    /// From what is stored. A job that was deleting goes on at its cursor; one that was hashing had
    /// stored nothing and begins anew.
    pub(crate) fn load<E: Engine>(engine: &E) -> Result<Self, Fatal> {
        let key = StateKey::Reclaim.encode();
        let Some(value) = engine.get(Family::State, &key)? else {
            return Ok(Self { finished: Revision::NEVER_COMPACTED, job: None, reclaimed: 0 });
        };
        let stored: Reclaim = state::decode(&key, &value)?;
        let mut job = None;
        if stored.started != stored.finished {
            let target = Revision(stored.started);
            let main = Revision(stored.cursor_main);
            let cursor = RevisionKey { main, sub: stored.cursor_sub };
            let previous = scheduled(engine, target)?.unwrap_or(Revision(stored.finished));
            job = Some(Job { target, previous, cursor, hash: None });
        }
        Ok(Self { finished: Revision(stored.finished), job, reclaimed: stored.reclaimed })
    }

    /// Bytes of all versions ever deleted.
    pub(crate) fn reclaimed(&self) -> u64 {
        self.reclaimed
    }

    /// The highest revision of which anything may already be deleted.
    pub(crate) fn deleted_up_to(&self) -> Revision {
        match self.job {
            Some(Job { hash: None, target, .. }) => target,
            Some(_) | None => self.finished,
        }
    }

    /// Takes deleted keys out of an index that was saved before their last records were deleted.
    pub(crate) fn forget_deleted(&self, index: &mut Index) {
        if index.len() == index.live_len() {
            return;
        }
        let everything = KeyRange::From(Bytes::new());
        let gone: Vec<Bytes> = index
            .range(&everything)
            .filter(|(_, entry)| entry.tombstone && self.has_deleted(entry.modified))
            .map(|(key, _)| key)
            .collect();
        for key in gone {
            index.remove(&key);
        }
    }

    /// Whether the record of a deletion at `at` has been deleted itself.
    fn has_deleted(&self, at: RevisionKey) -> bool {
        let by_job = match self.job {
            Some(Job { hash: None, target, cursor, .. }) => at.main < target && at < cursor,
            Some(_) | None => false,
        };
        at.main < self.finished || by_job
    }

    pub(super) fn record(&self) -> Change {
        let cursor = self.job.map(|job| job.cursor).unwrap_or_default();
        let record = Reclaim {
            finished: self.finished.0,
            started: self.deleted_up_to().0,
            cursor_main: cursor.main.0,
            cursor_sub: cursor.sub,
            reclaimed: self.reclaimed,
        };
        let (key, value, _) = state::encode(StateKey::Reclaim, &record);
        Change::Put { family: Family::State, key, value }
    }
}

fn scheduled<E: Engine>(engine: &E, target: Revision) -> Result<Option<Revision>, Fatal> {
    let key = StateKey::Scheduled(target).encode();
    match engine.get(Family::State, &key)? {
        Some(value) => {
            let record: ScheduledCompaction = state::decode(&key, &value)?;
            Ok(Some(Revision(record.previous)))
        }
        None => Ok(None),
    }
}
