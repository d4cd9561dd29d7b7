//! Physical deletion of versions that no reader can ask for any more.
//!
//! A compaction to R holds for readers at once, when its entry is applied. Here its garbage goes, in
//! the background: per key everything but the newest version up to R, and that one too if it is a
//! deletion before R. Compactions are dealt with one after the other, in order: first the hash of what
//! is there, then one walk over the changes between the previous compaction and R, each of which names
//! the version it superseded.
//!
//! Every batch carries the walk's cursor and the count of reclaimed bytes, so that a crash repeats no
//! deletion and counts none twice.
//!
//! `reclaim`: how far that is. `garbage`: what goes.

use std::sync::Arc;

use super::hash::{Hasher, remember, stored_hashes};
use super::reader::Reader;
use crate::engine::{Batch, Change, Engine, Family, Order};
use crate::error::Fatal;
use crate::machine::shared::{Shared, ViewState};
use crate::schema::change::{self, ChangeRecord};
use crate::schema::state::{self, CompactionHash, ScheduledCompaction, StateKey};
use crate::types::{Revision, RevisionKey};
use crate::view::Views;

mod garbage;
mod reclaim;

use garbage::Garbage;
use reclaim::Job;

pub(crate) use reclaim::ReclaimState;

/// Changes whose garbage goes in one engine batch: a put waits for a batch that is being written.
const BATCH: usize = 64;

/// How many changes may be hashed where one's garbage may be deleted.
const HASHED_PER_DELETED: usize = 8;

/// Deletes compacted versions in the background, in paced batches, respecting pinned views. Follows
/// the machine when its state is replaced.
#[derive(Debug)]
pub struct Compactor<E: Engine> {
    views: Views<E>,
    removed: u64,
}

/// One step of a compactor, on the state as it is then.
struct Step<E: Engine> {
    shared: Arc<Shared<E>>,
    removed: u64,
}

/// How far a compaction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompactionProgress {
    /// Nothing is left to delete up to this compacted revision;
    /// [`Revision::NEVER_COMPACTED`] before any compaction.
    Finished(Revision),
    /// More batches are to come.
    More,
    /// The rest is pinned by a view still in use; try again later.
    Pinned,
}

impl<E: Engine> Compactor<E> {
    pub(crate) fn new(views: Views<E>) -> Self {
        Self { views, removed: 0 }
    }

    /// Versions this handle has deleted so far.
    pub fn removed(&self) -> u64 {
        self.removed
    }

    /// Looks at no more than `limit` changes, and deletes at most two versions for each; takes the hash
    /// of eight times as many, as that writes nothing. Blocking, bounded.
    pub fn step(&mut self, limit: usize) -> Result<CompactionProgress, Fatal> {
        let mut step = Step { shared: self.views.shared(), removed: 0 };
        let progress = step.run(limit.max(1));
        self.removed += step.removed;
        progress
    }
}

impl<E: Engine> Step<E> {
    fn run(&mut self, limit: usize) -> Result<CompactionProgress, Fatal> {
        let shared = Arc::clone(&self.shared);
        let mut reclaim = shared.reclaim.lock();
        let view = self.shared.view();
        let mut job = match reclaim.job {
            Some(job) => job,
            None => match self.next_job(&view, reclaim.finished)? {
                Some(job) => job,
                None => return Ok(CompactionProgress::Finished(reclaim.finished)),
            },
        };
        if let Some(hasher) = job.hash {
            let limit = limit.saturating_mul(HASHED_PER_DELETED);
            let hashed = self.hash(&view, job, hasher, limit, &mut reclaim)?;
            reclaim.job = Some(hashed);
            return Ok(CompactionProgress::More);
        }
        if self.shared.oldest_pin().is_none_or(|oldest| oldest < job.target) {
            reclaim.job = Some(job);
            return Ok(CompactionProgress::Pinned);
        }
        let (mut finished, mut left) = (false, limit);
        while !finished && left > 0 {
            let batch = left.min(BATCH);
            let removed;
            (finished, removed) = self.delete(&mut job, batch, &mut reclaim)?;
            self.removed += removed;
            left -= batch;
        }
        reclaim.job = (!finished).then_some(job);
        if finished && self.next_job(&view, reclaim.finished)?.is_none() {
            return Ok(CompactionProgress::Finished(reclaim.finished));
        }
        Ok(CompactionProgress::More)
    }

    /// The oldest compaction that is committed and not dealt with.
    fn next_job(&self, view: &ViewState, finished: Revision) -> Result<Option<Job>, Fatal> {
        let Some(compacted) = view.compacted.filter(|compacted| *compacted > finished) else {
            return Ok(None);
        };
        let bounds = state::scheduled_bounds(compacted);
        let engine = self.shared.engine.as_ref();
        let Some(item) = engine.scan(Family::State, bounds, Order::Ascending).next() else {
            return Ok(None);
        };
        let (key, value) = item?;
        let StateKey::Scheduled(target) = StateKey::decode(&key)? else {
            unreachable!("the bounds hold scheduled compactions only")
        };
        let record: ScheduledCompaction = state::decode(&key, &value)?;
        let previous = Revision(record.previous);
        let hash = Hasher::new(&self.reader(view), target, previous, true)?;
        Ok(Some(Job { target, previous, cursor: RevisionKey::default(), hash: Some(hash) }))
    }

    fn reader<'a>(&'a self, view: &'a ViewState) -> Reader<'a, E> {
        Reader {
            engine: &self.shared.engine,
            index: &view.index,
            pending: &[],
            revision: view.revision,
            compacted: view.compacted,
        }
    }

    /// Takes the next changes into the job's hash. With the last one the hash is stored, in the same
    /// batch that allows deletion to begin.
    fn hash(
        &self,
        view: &ViewState,
        mut job: Job,
        mut hasher: Hasher,
        limit: usize,
        reclaim: &mut ReclaimState,
    ) -> Result<Job, Fatal> {
        let reader = self.reader(view);
        let mut seen = 0;
        for item in self.changes(job.cursor, job.target).take(limit) {
            let change = item?;
            hasher.add(&reader, &change)?;
            job.cursor = after(change.entry.modified);
            seen += 1;
        }
        if seen == limit {
            job.hash = Some(hasher);
            return Ok(job);
        }
        job.hash = None;
        // Of the revisions up to the previous compaction only deletions at it are left to look at.
        job.cursor = RevisionKey { main: job.previous.max(Revision(0)), sub: 0 };
        reclaim.job = Some(job);
        let mut changes = vec![reclaim.record()];
        // Nobody can ask for the hash of revision 0: to HashKV that means "now".
        if job.target.0 > 0 {
            let mut hashes = stored_hashes(self.shared.engine.as_ref())?;
            remember(
                &mut hashes,
                CompactionHash {
                    revision: job.target.0,
                    previous: job.previous.0,
                    hash: hasher.finish(),
                },
            );
            let (key, value, _) = state::encode(StateKey::CompactionHashes, &hashes);
            changes.push(Change::Put { family: Family::State, key, value });
        }
        self.shared.engine.apply(Batch { changes, applied: None })?;
        Ok(job)
    }

    fn changes(
        &self,
        from: RevisionKey,
        target: Revision,
    ) -> impl Iterator<Item = Result<ChangeRecord, Fatal>> + '_ {
        let bounds = change::bounds(from, target);
        let scan = self.shared.engine.scan(Family::Revisions, bounds, Order::Ascending);
        scan.map(|item| item.and_then(|(key, value)| ChangeRecord::decode(&key, &value)))
    }

    /// Deletes what the next changes superseded; whether the job is done, and how many versions went.
    fn delete(
        &self,
        job: &mut Job,
        limit: usize,
        reclaim: &mut ReclaimState,
    ) -> Result<(bool, u64), Fatal> {
        let mut garbage = Garbage::default();
        let mut seen = 0;
        for item in self.changes(job.cursor, job.target).take(limit) {
            let change = item?;
            job.cursor = after(change.entry.modified);
            garbage.collect(&change, job);
            seen += 1;
        }
        let finished = seen < limit;
        reclaim.reclaimed += garbage.bytes;
        let mut changes = garbage.changes;
        if finished {
            reclaim.finished = job.target;
            reclaim.job = None;
            let key = StateKey::Scheduled(job.target).encode();
            changes.push(Change::Delete { family: Family::State, key });
        } else {
            reclaim.job = Some(*job);
        }
        changes.push(reclaim.record());
        self.shared.engine.apply(Batch { changes, applied: None })?;
        self.shared.set_reclaimed(reclaim.reclaimed);
        self.shared.drop_tombstones(garbage.tombstones);
        Ok((finished, garbage.versions))
    }
}

fn after(at: RevisionKey) -> RevisionKey {
    RevisionKey { main: at.main, sub: at.sub + 1 }
}
