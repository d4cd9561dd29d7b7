//! The façade of the crate: entries in, answers out.

use std::path::PathBuf;
use std::sync::Arc;

use crate::command::{Applied, Entry};
use crate::engine::Engine;
use crate::error::Fatal;
use crate::types::{LogId, LogIndex, Revision};
use crate::view::{ReadView, Views};
use bytes::Bytes;

/// How a state machine is opened.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where index checkpoints are kept; `None` rebuilds the index from the engine at every open.
    pub checkpoint_dir: Option<PathBuf>,
}

/// What a checkpoint made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Everything up to here is on disk: the licence to purge the log.
    pub applied: LogIndex,
}

/// The state, owned by the one task that applies.
///
/// **Invariant:** entries are applied in log order without gaps; what [`view`](Self::view) shows is
/// the state as of the last [`commit`](Self::commit).
#[derive(Debug)]
pub struct StateMachine<E: Engine> {
    engine: Arc<E>,
}

impl<E: Engine> StateMachine<E> {
    /// Opens the state an engine holds; an empty engine is the state before the first entry.
    pub fn open(engine: Arc<E>, options: Options) -> Result<Self, Fatal> {
        let _ = (engine, options);
        todo!()
    }

    /// Applies one entry. The outer error stops the node; the inner is the client's answer.
    ///
    /// Reads of later entries see this one at once; views do after [`commit`](Self::commit).
    pub fn apply(&mut self, id: LogId, entry: Entry<'_>) -> Result<Applied, Fatal> {
        let _ = (id, entry);
        todo!()
    }

    /// Writes one engine batch with everything since the last commit, applied id included, and
    /// publishes the new view. Visible, not durable.
    pub fn commit(&mut self) -> Result<(), Fatal> {
        todo!()
    }

    /// The state as of the last commit.
    pub fn view(&self) -> ReadView<E> {
        todo!()
    }

    /// A handle that always gives the newest view, for readers on other threads.
    pub fn views(&self) -> Views<E> {
        todo!()
    }

    /// Makes the committed state durable and writes the index checkpoint. Called on a background
    /// thread's time through [`Checkpointer`]; never holds up `apply`.
    pub fn checkpointer(&self) -> Checkpointer<E> {
        todo!()
    }

    /// A handle for background deletion of compacted versions.
    pub fn compactor(&self) -> Compactor<E> {
        todo!()
    }

    /// The newest applied entry, committed or not.
    pub fn applied(&self) -> LogId {
        todo!()
    }

    /// The consensus layer's encoding of the newest applied membership, with its entry's id.
    pub fn membership(&self) -> Option<(LogId, Bytes)> {
        todo!()
    }

    /// Hash over all applied changes; equal on all members at the same applied index.
    pub fn digest(&self) -> u64 {
        todo!()
    }
}

/// Makes state durable in the background. Send; independent of the applying task.
#[derive(Debug)]
pub struct Checkpointer<E: Engine> {
    engine: Arc<E>,
}

impl<E: Engine> Checkpointer<E> {
    /// Flushes the engine and writes an index checkpoint (the latter only when enough has changed
    /// since the last). Blocking.
    pub fn checkpoint(&mut self) -> Result<Checkpoint, Fatal> {
        let _ = &self.engine;
        todo!()
    }
}

/// Deletes compacted versions in the background, in paced batches, respecting pinned views.
#[derive(Debug)]
pub struct Compactor<E: Engine> {
    engine: Arc<E>,
}

/// How far a compaction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompactionProgress {
    /// Nothing is left to delete up to this compacted revision.
    Finished(Revision),
    /// More batches are to come.
    More,
    /// The rest is pinned by a view still in use; try again later.
    Pinned,
}

impl<E: Engine> Compactor<E> {
    /// Deletes at most `limit` versions. Blocking, bounded.
    pub fn step(&mut self, limit: usize) -> Result<CompactionProgress, Fatal> {
        let _ = (&self.engine, limit);
        todo!()
    }
}
