//! How a replica ends.

use std::sync::Arc;

use openraft::ServerState;
use openraft_rt::AsyncRuntime;
use tokio::sync::oneshot;

use super::Inner;
use crate::disk::Disk;
use crate::platform::Platform;
use crate::transport::Transport;
use crate::types::log_id;

type JoinHandle<P> = <<P as Platform>::Runtime as AsyncRuntime>::JoinHandle<()>;

/// What runs for the replica, and what it holds.
pub(crate) struct Running<P: Platform> {
    pub(super) supervisor: JoinHandle<P>,
    pub(super) checkpoints: JoinHandle<P>,
    pub(super) membership: JoinHandle<P>,
    pub(super) comparison: JoinHandle<P>,
    pub(super) heartbeat: JoinHandle<P>,
    /// Dropped to end the checkpoints, after a last one.
    pub(super) stop_checkpoints: oneshot::Sender<()>,
    /// Resolves when the applier, and with it the last writer of the engine, is gone.
    pub(super) applier_gone: oneshot::Receiver<()>,
    /// Dropped when peers get no more answers; `None` until they get any.
    pub(super) serving: Option<<P::Transport as Transport>::Serving>,
    /// The log's files. The writer ends when everyone has let go of them.
    pub(super) disk: Arc<dyn Disk>,
}

pub(super) async fn shutdown<P: Platform>(inner: &Arc<Inner<P>>) {
    let Some(running) = inner.running.lock().take() else { return };
    if !inner.stop.has_begun() {
        inner.resign().await;
    }
    inner.stop.begin();
    inner.answering.end();
    drain(inner).await;
    drop(running.stop_checkpoints);
    // Errors of joins: a task that panicked has said so itself, and there is nothing left to stop.
    drop(running.checkpoints.await);
    drop(inner.raft.shutdown().await);
    inner.inbox.close(inner).await;
    inner.stop.end();
    drop(running.serving);
    drop(running.membership.await);
    drop(running.comparison.await);
    drop(running.heartbeat.await);
    drop(running.supervisor.await);
    drop(running.applier_gone.await);
    inner.peers.roster.close();
    drop(running.disk);
    // Last: whoever waits for the directory finds everything closed.
    inner.engines.close().await;
}

/// Lets what is in a leader's queue or log be applied and answered, within the time a request may
/// take anyway. What a follower was asked is in the leader's hands.
async fn drain<P: Platform>(inner: &Arc<Inner<P>>) {
    let drained = async {
        // Asked through the queue of proposals, so every earlier one is in the log by now.
        let last = inner.raft.with_raft_state(|state| {
            let leads = state.server_state == ServerState::Leader;
            state.log_ids.last().filter(|_| leads).map(log_id)
        });
        if let Ok(Some(last)) = last.await {
            let _ = inner.progress.wait(last.index).await;
        }
    };
    drop(P::Runtime::timeout(inner.settings.request_timeout, drained).await);
}
