//! Leadership handed to another member.

use openraft_rt::{AsyncRuntime, Instant, WatchReceiver};
use vetch_storage::NodeId;

use super::Inner;
use crate::platform::{InstantOf, Platform};

/// Entries that a target may lack at most: it gets them before it campaigns, within the time of a
/// transfer.
const MAX_LAG: u64 = 1_000;

/// Why leadership did not move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// This member does not lead.
    #[error("not leader")]
    NotLeader,
    /// The target is no voter.
    #[error("bad leader transferee")]
    NoVoter,
    /// The target was not heard from lately, or is far behind. Nothing was begun.
    #[error("the target of the transfer is not ready")]
    NotReady,
    /// The target did not lead in time. It, or another, may yet.
    #[error("timed out, leader transfer took too long")]
    TimedOut,
    /// The node is stopping.
    #[error("stopped")]
    Stopped,
}

impl<P: Platform> Inner<P> {
    /// Whether `target` would take over at once. openraft cannot take a transfer back: with a target
    /// that is not ready the group has no leader for an election timeout.
    pub(super) fn is_ready(&self, target: NodeId) -> Result<(), TransferError> {
        let metrics = self.metrics.borrow_watched();
        let (Some(heard), Some(matched)) = (&metrics.heartbeat, &metrics.replication) else {
            return Err(TransferError::NotLeader);
        };
        if !metrics.membership_config.membership().voter_ids().any(|id| id == target.0) {
            return Err(TransferError::NoVoter);
        }
        let heard = heard.get(&target.0).copied().flatten();
        let recent = heard.is_some_and(|at| at.elapsed() < self.settings.election_timeout);
        let matched = matched.get(&target.0).copied().flatten().map_or(0, |id| id.index + 1);
        let last = metrics.last_log_index.map_or(0, |last| last + 1);
        if recent && matched + MAX_LAG >= last { Ok(()) } else { Err(TransferError::NotReady) }
    }

    pub(super) async fn transfer_leadership(&self, target: NodeId) -> Result<(), TransferError> {
        if self.stop.has_begun() {
            return Err(TransferError::Stopped);
        }
        if self.leadership.leading().is_none() {
            return Err(TransferError::NotLeader);
        }
        if target == self.identity.member {
            return Ok(());
        }
        self.is_ready(target)?;
        self.hand_over(target).await
    }

    /// Before this member stops: has the readiest other voter lead, so that nobody waits for an
    /// election.
    pub(super) async fn resign(&self) {
        if self.leadership.leading().is_none() {
            return;
        }
        if let Some(target) = self.successor()
            && let Err(error) = self.hand_over(target).await
        {
            tracing::warn!(%error, "leadership was not handed over before the stop");
        }
    }

    /// The readiest other voter, if one is ready at all.
    pub(super) fn successor(&self) -> Option<NodeId> {
        let voters = {
            let metrics = self.metrics.borrow_watched();
            let voters = metrics.membership_config.membership().voter_ids();
            let matched = |id: &u64| {
                metrics.replication.as_ref().and_then(|all| all.get(id).copied().flatten())
            };
            let mut voters: Vec<u64> = voters.filter(|id| *id != self.identity.member.0).collect();
            voters.sort_by_key(|id| std::cmp::Reverse(matched(id)));
            voters
        };
        voters.into_iter().map(NodeId).find(|id| self.is_ready(*id).is_ok())
    }

    pub(super) async fn hand_over(&self, target: NodeId) -> Result<(), TransferError> {
        // As long as etcd waits.
        let deadline = InstantOf::<P>::now() + self.settings.election_timeout;
        let asked = self.raft.trigger().transfer_leader(target.0).await;
        asked.map_err(|_stopped| TransferError::Stopped)?;
        let led = async {
            while self.leadership.leader() != Some(target) {
                let tried = self.leadership.leader();
                self.leadership.until_other_than(tried).await;
            }
        };
        P::Runtime::timeout_at(deadline, led).await.map_err(|_late| TransferError::TimedOut)
    }
}
