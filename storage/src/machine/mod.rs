//! The façade of the crate: entries in, answers out.
//!
//! - `batch`: what is applied but not yet in the engine.
//! - `state`: the replicated state in memory.
//! - `apply`: one entry, one method per command.
//! - `open`: from an engine's bytes to a state.
//! - `shared`: what views, compactor and checkpointer have in common.
//! - `checkpoint`: durability in the background.

mod apply;
pub(crate) mod batch;
mod checkpoint;
mod open;
pub(crate) mod shared;
pub(crate) mod state;

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use self::batch::OpenBatch;
pub use self::checkpoint::{Checkpoint, Checkpointer, IndexCheckpoint};
use self::open::Loaded;
use self::shared::{Pin, Shared};
use self::state::State;
use crate::command::{Applied, Entry};
use crate::engine::{Batch, Engine};
use crate::error::Fatal;
use crate::member::Members;
pub use crate::mvcc::compaction::{CompactionProgress, Compactor};
use crate::planted::Planted;
use crate::types::{LogId, Revision};
use crate::view::{ReadView, Views};

/// How a state machine is opened.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where index checkpoints are kept; `None` rebuilds the index from the engine at every open.
    pub checkpoint_dir: Option<PathBuf>,
    /// Let go of when the engine is closed, which is when the last view of it is gone: the right to be
    /// in its directory, say.
    pub outlives: Option<Arc<dyn Any + Send + Sync>>,
}

/// The state, owned by the one task that applies.
///
/// **Invariant:** entries are applied in log order without gaps; what [`view`](Self::view) shows is
/// the state as of the last [`commit`](Self::commit). After a [`Fatal`] the machine does nothing but
/// repeat it: its memory may be ahead of its engine.
#[derive(Debug)]
pub struct StateMachine<E: Engine> {
    shared: Arc<Shared<E>>,
    /// Where readers find `shared`.
    views: Views<E>,
    state: State,
    batch: OpenBatch,
    pin: Arc<Pin>,
    failed: Option<Fatal>,
}

/// A state that was replaced. Readers may still hold views of it; who drops the last of all closes its
/// engine, which may take a while.
#[derive(Debug)]
pub struct Replaced<E: Engine>(Arc<Shared<E>>);

impl<E: Engine> Replaced<E> {
    /// Whether nobody else holds anything of it any more.
    pub fn is_unused(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl<E: Engine> StateMachine<E> {
    /// Opens the state an engine holds; an empty engine is the state before the first entry.
    pub fn open(engine: Arc<E>, options: Options) -> Result<Self, Fatal> {
        let checkpoint = match &options.checkpoint_dir {
            Some(directory) => IndexCheckpoint::read(directory)?,
            None => IndexCheckpoint::default(),
        };
        Self::open_with(engine, checkpoint, options)
    }

    /// As [`open`](Self::open), with the index checkpoint of `options.checkpoint_dir` read already.
    pub fn open_with(
        engine: Arc<E>,
        checkpoint: IndexCheckpoint,
        options: Options,
    ) -> Result<Self, Fatal> {
        let Loaded { state, reclaim, checkpoint } = open::load(engine.as_ref(), checkpoint)?;
        let pin = Arc::new(Pin::new(state.keyspace.compacted));
        let view = shared::publish(&state, &pin);
        let shared = Shared::new(engine, view, reclaim, options, checkpoint);
        let shared = Arc::new(shared);
        let views = Views::new(Arc::clone(&shared));
        Ok(Self { shared, views, state, batch: OpenBatch::default(), pin, failed: None })
    }

    /// Becomes `other`, which has applied more: all handles of this machine show its state from now on.
    ///
    /// # Panics
    /// If something is applied and not committed, or `other` is not ahead: applied entries never come
    /// back.
    #[must_use = "whoever drops it may have to wait"]
    pub fn replace(&mut self, other: Self) -> Replaced<E> {
        assert_eq!(self.state.applied, self.shared.view().applied, "everything is committed");
        assert!(other.applied().index > self.applied().index, "a state is replaced by a newer one");
        let Self { shared, views: _, state, batch, pin, failed } = other;
        self.views.replace(Arc::clone(&shared));
        (self.state, self.batch, self.pin, self.failed) = (state, batch, pin, failed);
        Replaced(std::mem::replace(&mut self.shared, shared))
    }

    /// Applies one entry. The outer error stops the node; the inner is the client's answer.
    ///
    /// Reads of later entries see this one at once; views do after [`commit`](Self::commit).
    ///
    /// # Panics
    /// If `id` is not the entry after the newest applied one: the log is broken, and going on would
    /// make this member differ from its peers.
    pub fn apply(&mut self, id: LogId, entry: Entry<'_>) -> Result<Applied, Fatal> {
        assert_eq!(id.index, self.state.applied.index.next(), "entries are applied without gaps");
        if let Some(fatal) = &self.failed {
            return Err(fatal.clone());
        }
        let applied = self.apply_entry(id, entry).inspect_err(|fatal| {
            self.failed = Some(fatal.clone());
        })?;
        self.batch.fold_entry(id);
        self.state.applied = id;
        Ok(applied)
    }

    /// Writes one engine batch with everything since the last commit, applied id included, and
    /// publishes the new view. Visible, not durable.
    pub fn commit(&mut self) -> Result<(), Fatal> {
        if let Some(fatal) = &self.failed {
            return Err(fatal.clone());
        }
        if self.state.applied == self.shared.view().applied {
            return Ok(());
        }
        let mut batch = self.batch.take(&mut self.state);
        if Planted::AppliedOutsideBatch.is_on() {
            let progress = batch.changes.pop();
            let changes = std::mem::replace(&mut batch.changes, progress.into_iter().collect());
            self.shared.engine.apply(Batch { changes, applied: None })?;
        }
        if let Err(fatal) = self.shared.engine.apply(batch) {
            self.failed = Some(fatal.clone());
            return Err(fatal);
        }
        self.forget_compacted_tombstones();
        if self.pin.compacted() != self.state.keyspace.compacted {
            self.pin = Arc::new(Pin::new(self.state.keyspace.compacted));
            self.shared.add_pin(&self.pin);
        }
        self.shared.set_view(shared::publish(&self.state, &self.pin));
        Ok(())
    }

    /// Drops index entries of deleted keys whose last records compaction has removed, unless the key
    /// has been written again since.
    fn forget_compacted_tombstones(&mut self) {
        for (key, at) in self.shared.take_dropped() {
            let index = &mut self.state.keyspace.index;
            if index.get(&key).is_some_and(|entry| entry.tombstone && entry.modified == at) {
                index.remove(&key);
            }
        }
    }

    /// The state as of the last commit.
    pub fn view(&self) -> ReadView<E> {
        self.views().latest()
    }

    /// A handle that always gives the newest view, for readers on other threads.
    pub fn views(&self) -> Views<E> {
        self.views.clone()
    }

    /// Makes the committed state durable and writes the index checkpoint. Called on a background
    /// thread's time through [`Checkpointer`]; never holds up `apply`.
    pub fn checkpointer(&self) -> Checkpointer<E> {
        self.views.checkpointer()
    }

    /// A handle for background deletion of compacted versions. Handles share their progress; one
    /// deletes at a time.
    pub fn compactor(&self) -> Compactor<E> {
        self.views.compactor()
    }

    /// Whether the next [`commit`](Self::commit) may have to wait; see [`Engine::is_congested`].
    pub fn is_congested(&self) -> bool {
        self.shared.engine.is_congested()
    }

    /// The newest applied entry, committed or not.
    pub fn applied(&self) -> LogId {
        self.state.applied
    }

    /// The store's revision after the newest applied entry, committed or not.
    pub fn revision(&self) -> Revision {
        self.state.keyspace.revision
    }

    /// The consensus layer's encoding of the newest applied membership, with its entry's id.
    pub fn membership(&self) -> Option<(LogId, Bytes)> {
        self.state.membership.clone()
    }

    /// The member table after the newest applied entry, committed or not.
    pub fn members(&self) -> &Members {
        &self.state.members
    }

    /// Hash over all applied changes; equal on all members at the same applied index.
    pub fn digest(&self) -> u64 {
        self.batch.digest_after(self.state.digest)
    }
}

#[cfg(test)]
mod tests;
