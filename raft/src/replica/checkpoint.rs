//! Makes the engine durable in the background, and lets go of the log behind it.

use std::sync::Arc;
use std::time::Duration;

use openraft_rt::{AsyncRuntime, Select2};
use tokio::sync::oneshot;
use vetch_storage::machine::Checkpointer;
use vetch_storage::{Fatal, LogIndex};

use super::Inner;
use crate::platform::Platform;

/// A checkpoint is due this long after the last one when anything has changed since, however little:
/// it bounds what a restart replays, and how long an idle engine holds on to its journals.
const CHECKPOINT_PERIOD: Duration = Duration::from_secs(5);

/// The one task that checkpoints.
pub(super) struct Checkpoints<P: Platform> {
    inner: Arc<Inner<P>>,
    checkpointer: Checkpointer<P::Engine>,
    /// Everything up to here is durable.
    last: LogIndex,
}

impl<P: Platform> Checkpoints<P> {
    pub(super) fn new(inner: Arc<Inner<P>>, checkpointer: Checkpointer<P::Engine>) -> Self {
        // What an engine shows after a kill may not be on disk yet: nothing is taken for durable.
        Self { inner, checkpointer, last: LogIndex(0) }
    }

    /// Runs until `stop` is dropped, then once more; or until the member has failed.
    pub(super) async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        loop {
            let inner = Arc::clone(&self.inner);
            let due = due::<P>(&inner, self.last);
            let stopping = matches!(P::Runtime::select2(&mut stop, due).await, Select2::First(_));
            if inner.stop.has_failed() {
                // A checkpoint that is due would stay due, and leave no turn for the shutdown.
                return;
            }
            match self.checkpoint().await {
                Ok(next) => self = next,
                Err(fatal) => return inner.stop.raise(fatal),
            }
            if stopping {
                return;
            }
        }
    }

    async fn checkpoint(self) -> Result<Self, Fatal> {
        let Self { inner, mut checkpointer, last } = self;
        let mark = inner.marks.applied();
        if mark.id.index <= last {
            return Ok(Self { inner, checkpointer, last });
        }
        let work = move || (checkpointer.checkpoint(), checkpointer);
        let (done, checkpointer) = inner.platform.blocking(work).await;
        let durable = done?.applied;
        assert!(
            durable >= mark.id.index,
            "a checkpoint begun at {} ended at {durable}",
            mark.id.index
        );
        let last = mark.id.index;
        inner.marks.set_durable(mark);
        // openraft takes note of the new mark and purges all but the entries kept for catching up.
        // It refuses only when it stops, and then the log stays as it is. A peer that is being given
        // a state needs what came after it, or it would be behind for ever under load.
        let kept = inner.settings.catchup_entries;
        if inner.peers.feeds.let_go(LogIndex(last.0.saturating_sub(kept))) {
            drop(inner.raft.trigger().snapshot().await);
        }
        Ok(Self { inner, checkpointer, last })
    }
}

/// Waits until enough has been applied since `last`, or anything for long enough.
async fn due<P: Platform>(inner: &Inner<P>, last: LogIndex) {
    let enough = inner.progress.wait(LogIndex(last.0 + inner.settings.checkpoint_entries.max(1)));
    let pause = P::Runtime::sleep(CHECKPOINT_PERIOD);
    match P::Runtime::select2(enough, pause).await {
        // The replica stops; its shutdown ends this task.
        Select2::First(Err(_)) => std::future::pending().await,
        Select2::First(Ok(())) | Select2::Second(()) => {}
    }
}
