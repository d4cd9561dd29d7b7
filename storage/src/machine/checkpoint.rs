//! Durability in the background, and the index checkpoint that makes a restart short.

use std::path::{Path, PathBuf};

use super::shared::ViewState;
use crate::atomic_file::AtomicFile;
use crate::engine::Engine;
use crate::error::Fatal;
use crate::mvcc::compaction::ReclaimState;
use crate::mvcc::index::Index;
use crate::mvcc::index::checkpoint::{self, Header};
use crate::planted::Planted;
use crate::types::{LogIndex, Revision};
use crate::view::Views;

/// What a checkpoint made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Everything up to here is on disk: the licence to purge the log.
    pub applied: LogIndex,
}

/// Makes state durable in the background. Send; independent of the applying task. Follows the machine
/// when its state is replaced.
#[derive(Debug)]
pub struct Checkpointer<E: Engine> {
    views: Views<E>,
}

/// Which state the index checkpoint on disk has, or would have if there had been space for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CheckpointMark {
    revision: Revision,
    /// [`ViewState::changes`] then.
    changes: u64,
}

impl CheckpointMark {
    /// Of the checkpoint that changes are counted from.
    pub(super) fn new(revision: Revision) -> Self {
        Self { revision, changes: 0 }
    }
}

impl<E: Engine> Checkpointer<E> {
    pub(crate) fn new(views: Views<E>) -> Self {
        Self { views }
    }

    /// Flushes the engine and writes an index checkpoint (the latter only when enough has changed
    /// since the last, or when a compaction is about to outdate it). Blocking.
    pub fn checkpoint(&mut self) -> Result<Checkpoint, Fatal> {
        // Taken first: an index file must never be ahead of what the engine has on disk.
        let shared = self.views.shared();
        let view = shared.view();
        let applied = if Planted::CheckpointNotSynced.is_on() {
            shared.engine.applied()
        } else {
            shared.engine.persist()?
        };
        let mut mark = shared.checkpoint.lock();
        if let Some(directory) = &shared.checkpoint_dir
            && is_due(*mark, &view)
        {
            let header = Header {
                revision: view.revision,
                compact_revision: view.compacted,
                applied: view.applied.index,
            };
            write_if_it_fits(&file_in(directory), &header, &view.index)?;
            *mark = Some(CheckpointMark { revision: view.revision, changes: view.changes });
        }
        Ok(Checkpoint { applied })
    }
}

/// Replaying a change costs about ten times what writing an entry does, and a restart waits for it,
/// while a file is written in the background: a tail of a thirtieth of the index is worth a new one.
/// Changes are counted, not revisions: a transaction makes many in one.
fn is_due(mark: Option<CheckpointMark>, view: &ViewState) -> bool {
    const SHORT_TAIL: u64 = 1_000;
    let Some(mark) = mark else { return view.revision > Revision::EMPTY_STORE };
    let outdated = view.compacted.is_some_and(|compacted| compacted > mark.revision);
    outdated || view.changes - mark.changes > SHORT_TAIL + view.index.len() as u64 / 30
}

/// An index checkpoint only makes a restart shorter: where it has no place the old one stays, and the
/// space that the attempt took is given back.
fn write_if_it_fits(file: &Path, header: &Header, index: &Index) -> Result<(), Fatal> {
    match checkpoint::write(file, header, index) {
        Err(fatal @ Fatal::Io { no_space: true, .. }) => {
            tracing::warn!(%fatal, "the index checkpoint has no space; the next start takes longer");
            AtomicFile::abandon(file);
            Ok(())
        }
        outcome @ (Ok(_) | Err(Fatal::Io { .. } | Fatal::Corrupt { .. })) => outcome.map(drop),
    }
}

fn file_in(directory: &Path) -> PathBuf {
    directory.join("index")
}

/// The last index checkpoint as its file has it, not yet held against an engine. Reading it needs no
/// engine, so both can be opened side by side.
#[derive(Debug, Default)]
pub struct IndexCheckpoint(Option<(Header, Index)>);

impl IndexCheckpoint {
    /// Reads the checkpoint kept in `directory`, if there is one. Damage is logged, and costs only a
    /// slower start. Blocking.
    pub fn read(directory: &Path) -> Result<Self, Fatal> {
        match checkpoint::read(&file_in(directory)) {
            Ok(found) => Ok(Self(found)),
            Err(damage @ Fatal::Corrupt { .. }) => {
                tracing::warn!(%damage, "index checkpoint is damaged; rebuilding the index");
                Ok(Self(None))
            }
            Err(fatal @ Fatal::Io { .. }) => Err(fatal),
        }
    }

    /// The index and its revision, if replaying the changes after it can still bring it up to date.
    pub(super) fn fitting(
        self,
        applied: LogIndex,
        reclaim: &ReclaimState,
    ) -> Option<(Revision, Index)> {
        let (header, mut index) = self.0?;
        // Ahead of the engine: from before a power loss, or from another engine.
        let is_ahead = header.applied > applied;
        // Deletions of keys after the checkpoint may be gone without a trace: replay would miss them.
        let is_outdated = reclaim.deleted_up_to() > header.revision;
        if is_ahead || is_outdated {
            tracing::info!(
                revision = header.revision.0,
                is_ahead,
                is_outdated,
                "index checkpoint does not fit the engine; rebuilding the index"
            );
            return None;
        }
        reclaim.forget_deleted(&mut index);
        Some((header.revision, index))
    }
}
