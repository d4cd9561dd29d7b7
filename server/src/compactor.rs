//! Physical deletion of compacted versions, paced, in the background.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use vetch_storage::machine::{CompactionProgress, Compactor};
use vetch_storage::{Engine, Fatal, Revision};

/// How hard the background may work.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Versions deleted in one go (`--compaction-batch-limit`).
    pub batch: usize,
    /// Rest between two goes (`--compaction-sleep-interval`).
    pub pause: Duration,
}

/// How far physical deletion has come; shared by all who wait for it.
#[derive(Clone, Debug)]
pub struct CompactionState {
    finished: watch::Receiver<Revision>,
    wake: watch::Sender<()>,
}

impl CompactionState {
    /// Says that the boundary may have moved.
    pub fn wake(&self) {
        self.wake.send_replace(());
    }

    /// Waits until everything below `boundary` is deleted; an error when the node is stopping.
    pub async fn finished(&self, boundary: Revision) -> Result<(), watch::error::RecvError> {
        self.finished.clone().wait_for(|finished| *finished >= boundary).await.map(drop)
    }
}

/// How long to wait for a view that pins what is to be deleted.
const PINNED_RETRY: Duration = Duration::from_millis(100);

/// Starts the background deletion. Damage found ends it and is reported through `on_fatal`.
pub fn start<E: Engine>(
    compactor: Compactor<E>,
    pace: Pace,
    on_fatal: impl Fn(Fatal) + Send + 'static,
) -> (CompactionState, JoinHandle<()>) {
    let (finished_tx, finished) = watch::channel(Revision(i64::MIN));
    let (wake, woken) = watch::channel(());
    let task = tokio::spawn(async move {
        if let Err(fatal) = run(compactor, pace, finished_tx, woken).await {
            on_fatal(fatal);
        }
    });
    (CompactionState { finished, wake }, task)
}

async fn run<E: Engine>(
    mut compactor: Compactor<E>,
    pace: Pace,
    finished: watch::Sender<Revision>,
    mut woken: watch::Receiver<()>,
) -> Result<(), Fatal> {
    loop {
        let stepped = tokio::task::spawn_blocking(move || {
            let progress = compactor.step(pace.batch);
            (compactor, progress)
        });
        let Ok((returned, progress)) = stepped.await else { return Ok(()) };
        compactor = returned;
        match progress? {
            CompactionProgress::More => tokio::time::sleep(pace.pause).await,
            CompactionProgress::Pinned => tokio::time::sleep(PINNED_RETRY).await,
            CompactionProgress::Finished(revision) => {
                finished.send_replace(revision);
                if woken.changed().await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}
