//! Durability in the background, and the index checkpoint that makes a restart short.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::shared::{Shared, ViewState};
use crate::engine::Engine;
use crate::error::Fatal;
use crate::mvcc::compaction::ReclaimState;
use crate::mvcc::index::Index;
use crate::mvcc::index::checkpoint::{self, Header};
use crate::types::{LogIndex, Revision};

/// What a checkpoint made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Everything up to here is on disk: the licence to purge the log.
    pub applied: LogIndex,
}

/// Makes state durable in the background. Send; independent of the applying task.
#[derive(Debug)]
pub struct Checkpointer<E: Engine> {
    shared: Arc<Shared<E>>,
    /// The revision of the last index checkpoint this handle wrote.
    written: Option<Revision>,
}

impl<E: Engine> Checkpointer<E> {
    pub(super) fn new(shared: Arc<Shared<E>>) -> Self {
        Self { shared, written: None }
    }

    /// Flushes the engine and writes an index checkpoint (the latter only when enough has changed
    /// since the last, or when a compaction is about to outdate it). Blocking.
    pub fn checkpoint(&mut self) -> Result<Checkpoint, Fatal> {
        // Taken first: an index file must never be ahead of what the engine has on disk.
        let view = self.shared.view();
        let applied = self.shared.engine.persist()?;
        if let Some(directory) = &self.shared.checkpoint_dir
            && self.is_due(&view)
        {
            let header = Header {
                revision: view.revision,
                compact_revision: view.compacted,
                applied: view.applied.index,
            };
            checkpoint::write(&file_in(directory), &header, &view.index)?;
            self.written = Some(view.revision);
        }
        Ok(Checkpoint { applied })
    }

    /// Replaying a change costs about ten times what writing an entry does, so a tail of a tenth of
    /// the index is worth a new file.
    fn is_due(&self, view: &ViewState) -> bool {
        const SHORT_TAIL: u64 = 1_000;
        let Some(written) = self.written else { return view.revision > Revision::EMPTY_STORE };
        let tail = (view.revision.0 - written.0).unsigned_abs();
        let outdated = view.compacted.is_some_and(|compacted| compacted > written);
        outdated || tail > SHORT_TAIL + view.index.len() as u64 / 10
    }
}

fn file_in(directory: &Path) -> PathBuf {
    directory.join("index")
}

/// The last index checkpoint and its revision, if it can still be brought up to date by replaying the
/// changes after it. Damage is logged, and costs only a slower start.
pub(super) fn read(
    directory: &Path,
    applied: LogIndex,
    reclaim: &ReclaimState,
) -> Result<Option<(Revision, Index)>, Fatal> {
    let (header, mut index) = match checkpoint::read(&file_in(directory)) {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(None),
        Err(damage @ Fatal::Corrupt { .. }) => {
            tracing::warn!(%damage, "index checkpoint is damaged; rebuilding the index");
            return Ok(None);
        }
        Err(fatal @ Fatal::Io { .. }) => return Err(fatal),
    };
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
        return Ok(None);
    }
    reclaim.forget_deleted(&mut index);
    Ok(Some((header.revision, index)))
}
