//! What ends a stream that has no end of its own.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use vetch_raft::{AsyncRuntime, Platform};

use super::api::Api;
use super::status::Refusal;

/// Looks in a row that find no leader before streams end, as in etcd.
const LOOKS: u32 = 3;

/// When a stream ends by the node's doing, and why.
#[derive(Clone, Debug)]
pub struct StreamEnd {
    stopping: CancellationToken,
    /// `None` for a client that does not mind.
    leader_lost: Option<CancellationToken>,
}

impl StreamEnd {
    /// Of a stream that begins now; `wants_leader` is what the client said with `hasleader`.
    pub fn new(stopping: CancellationToken, leader: &LeaderLoss, wants_leader: bool) -> Self {
        Self { stopping, leader_lost: wants_leader.then(|| leader.now.lock().clone()) }
    }

    /// Waits for it.
    pub async fn reached(&self) -> Refusal {
        let lost = async {
            match &self.leader_lost {
                Some(lost) => lost.cancelled().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.stopping.cancelled() => Refusal::Stopped,
            () = lost => Refusal::NoLeader,
        }
    }
}

/// Tells streams that there has been no leader for three election timeouts.
#[derive(Debug, Default)]
pub struct LeaderLoss {
    /// Cancelled for those that are open then; the next ones get another.
    now: Mutex<CancellationToken>,
}

impl LeaderLoss {
    fn tell(&self) {
        let told = std::mem::take(&mut *self.now.lock());
        told.cancel();
    }
}

/// Looks for a leader once per election timeout, until it is dropped.
pub async fn watch_leader<P: Platform>(api: Arc<Api<P>>, election_timeout: Duration) {
    let mut missed = 0;
    loop {
        P::Runtime::sleep(election_timeout).await;
        let has_leader = api.replica.status().leader.is_some();
        missed = if has_leader { 0 } else { missed + 1 };
        if missed >= LOOKS {
            api.leader_loss.tell();
        }
    }
}
