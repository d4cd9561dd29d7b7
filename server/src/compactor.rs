//! Physical deletion of compacted versions, paced, in the background.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use vetch_raft::platform::InstantOf;
use vetch_raft::{AsyncRuntime, Instant, Platform};
use vetch_storage::machine::{CompactionProgress, Compactor};
use vetch_storage::{Fatal, Revision};

use crate::metrics::MvccMetrics;

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
        metrics: MvccMetrics,
    ) -> Fatal {
        let mut boundary = self.boundary.subscribe();
        let mut run = Run::<P>::new(metrics);
        loop {
            run.begin();
            let step = move || {
                let (began, removed) = (InstantOf::<P>::now(), compactor.removed());
                let progress = compactor.step(pace.batch);
                let step = Step { took: began.elapsed(), removed: compactor.removed() - removed };
                (compactor, progress, step)
            };
            let (returned, progress, step) = platform.blocking(step).await;
            compactor = returned;
            run.add(&step);
            match progress {
                Ok(CompactionProgress::More) => P::Runtime::sleep(pace.pause).await,
                Ok(CompactionProgress::Pinned) => P::Runtime::sleep(PINNED_RETRY).await,
                Ok(CompactionProgress::Finished(revision)) => {
                    let before = self.finished.send_replace(revision);
                    run.finish(before != NEVER && revision > before);
                    // Fails only if the sender were gone, and `self` holds it.
                    drop(boundary.changed().await);
                }
                Err(fatal) => return fatal,
            }
        }
    }
}

/// What one step did.
struct Step {
    took: Duration,
    removed: u64,
}

/// A compaction at work, as the metrics see it.
struct Run<P: Platform> {
    metrics: MvccMetrics,
    began: Option<InstantOf<P>>,
    removed: u64,
}

impl<P: Platform> Run<P> {
    fn new(metrics: MvccMetrics) -> Self {
        Self { metrics, began: None, removed: 0 }
    }

    fn begin(&mut self) {
        self.began.get_or_insert_with(InstantOf::<P>::now);
    }

    fn add(&mut self, step: &Step) {
        if step.removed > 0 {
            self.removed += step.removed;
            self.metrics.compaction_keys.add(step.removed);
            self.metrics.compaction_pause.observe(millis(step.took));
        }
    }

    /// `is_new` says that the boundary has moved; at the start of a node there may have been nothing
    /// to do, and that counts for nothing.
    fn finish(&mut self, is_new: bool) {
        let took = self.began.take().map(|began| began.elapsed()).unwrap_or_default();
        if std::mem::take(&mut self.removed) == 0 && !is_new {
            return;
        }
        self.metrics.compaction_duration.observe(millis(took));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.metrics.compaction_last.set(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
