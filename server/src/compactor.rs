//! Physical deletion of compacted versions, paced, in the background.

use std::time::Duration;

use tokio::sync::watch;
use vetch_raft::{AsyncRuntime, Platform};
use vetch_storage::machine::{CompactionProgress, Compactor};
use vetch_storage::{Fatal, Revision};

/// How hard the background may work.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Versions deleted in one go (`--compaction-batch-limit`).
    pub batch: usize,
    /// Rest between two goes (`--compaction-sleep-interval`).
    pub pause: Duration,
}

/// How far compaction was asked for, and how far deletion has come.
#[derive(Debug)]
pub struct CompactionState {
    boundary: watch::Sender<Revision>,
    finished: watch::Sender<Revision>,
}

/// Before any compaction.
const NEVER: Revision = Revision(i64::MIN);
/// How long to wait for a view that pins what is to be deleted.
const PINNED_RETRY: Duration = Duration::from_millis(100);

impl Default for CompactionState {
    fn default() -> Self {
        Self { boundary: watch::Sender::new(NEVER), finished: watch::Sender::new(NEVER) }
    }
}

impl CompactionState {
    /// Follows the applied boundary. Called on the applying task; does not block.
    pub fn follow(&self, compact_revision: Option<Revision>) {
        let Some(boundary) = compact_revision else { return };
        self.boundary.send_if_modified(|current| {
            let is_new = boundary > *current;
            if is_new {
                *current = boundary;
            }
            is_new
        });
    }

    /// Waits until everything below `boundary` is deleted.
    pub async fn finished(&self, boundary: Revision) {
        let reached = |finished: &Revision| *finished >= boundary;
        // Fails only if the sender were gone, and `self` holds it.
        drop(self.finished.subscribe().wait_for(reached).await);
    }

    /// Deletes in the background until the node stops. Damage found ends it.
    pub async fn run<P: Platform>(
        &self,
        platform: P,
        mut compactor: Compactor<P::Engine>,
        pace: Pace,
    ) -> Fatal {
        let mut boundary = self.boundary.subscribe();
        loop {
            let step = move || {
                let progress = compactor.step(pace.batch);
                (compactor, progress)
            };
            let (returned, progress) = platform.blocking(step).await;
            compactor = returned;
            match progress {
                Ok(CompactionProgress::More) => P::Runtime::sleep(pace.pause).await,
                Ok(CompactionProgress::Pinned) => P::Runtime::sleep(PINNED_RETRY).await,
                Ok(CompactionProgress::Finished(revision)) => {
                    self.finished.send_replace(revision);
                    // Fails only if the sender were gone, and `self` holds it.
                    drop(boundary.changed().await);
                }
                Err(fatal) => return fatal,
            }
        }
    }
}
