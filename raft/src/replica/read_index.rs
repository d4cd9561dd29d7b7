//! `ReadIndex` (Raft dissertation, section 6.4): the position a linearizable read must have seen.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use openraft::LinearizerOption;
use openraft::error::{LinearizableReadError, RaftError};
use openraft::raft::ReadPolicy;
use openraft_rt::{AsyncRuntime, Instant, WatchReceiver};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use vetch_storage::{LogIndex, NodeId, Planted};

use super::{Inner, ReadIndexError, ReadMode, config};
use crate::platform::{InstantOf, Platform};
use crate::types::log_index;

/// Rounds in flight at most: while one waits for the quorum, the next gathers company.
const MAX_ROUNDS: usize = 2;

type Answer = Result<LogIndex, ReadIndexError>;

/// Readers that share rounds.
///
/// **Invariant:** a round answers only readers that came before it began, so that what it confirms
/// is at least as new as what any of them may have heard of.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: usize,
    waiting: Vec<oneshot::Sender<Answer>>,
}

impl Rounds {
    /// Joins the next round; `true` when the caller must start it.
    fn join(&self) -> (oneshot::Receiver<Answer>, bool) {
        let (reader, answer) = oneshot::channel();
        let mut state = self.state.lock();
        state.waiting.push(reader);
        let start = state.running < MAX_ROUNDS;
        state.running += usize::from(start);
        (answer, start)
    }

    /// The next round's readers; `None` ends the caller's turn.
    fn take(&self) -> Option<Vec<oneshot::Sender<Answer>>> {
        let mut state = self.state.lock();
        if state.waiting.is_empty() {
            state.running -= 1;
            return None;
        }
        Some(mem::take(&mut state.waiting))
    }
}

impl<P: Platform> Inner<P> {
    pub(super) async fn read_index(self: &Arc<Self>) -> Answer {
        if self.stop.has_begun() {
            return Err(ReadIndexError::Stopped);
        }
        if let Some(index) = self.sole_leader_index() {
            return Ok(index);
        }
        if Planted::ReadWithoutQuorum.is_on() && self.leadership.leading().is_some() {
            return Ok(self.progress.applied());
        }
        self.shared_round().await
    }

    /// The only member that leads needs nobody's confirmation: no other can have been elected or have
    /// acknowledged anything, and what this one acknowledged it had applied before. A learner
    /// acknowledges what it has applied, which this one may still have to: then a round is asked for.
    /// It counts from when its record is in the log, applied here or not.
    ///
    /// It must have applied an entry of its own term first: until then entries that an earlier
    /// incarnation acknowledged may still be in the log alone.
    pub(super) fn sole_leader_index(&self) -> Option<LogIndex> {
        let leading = self.leadership.leading()?;
        let settled = self.progress.is_sole_voter() && self.progress.applied_term() == leading;
        (settled && self.is_without_others()).then(|| self.progress.applied())
    }

    fn is_without_others(&self) -> bool {
        let metrics = self.metrics.borrow_watched();
        metrics.membership_config.membership().nodes().count() == 1
    }

    pub(super) async fn shared_round(self: &Arc<Self>) -> Answer {
        let (answer, start) = self.rounds.join();
        if start {
            // A task of its own: a reader that goes away must not take the round of others with it.
            let inner = Arc::clone(self);
            drop(P::Runtime::spawn(async move { inner.run_rounds().await }));
        }
        match P::Runtime::timeout(self.settings.request_timeout, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(ReadIndexError::Stopped),
            Err(_) => Err(ReadIndexError::TimedOut),
        }
    }

    async fn run_rounds(&self) {
        while let Some(readers) = self.rounds.take() {
            let answer = self.confirm_read_index().await;
            for reader in readers {
                drop(reader.send(answer.clone()));
            }
        }
    }

    /// One round: a position no older than now, confirmed by a quorum; the leader is asked for it.
    async fn confirm_read_index(&self) -> Answer {
        let deadline = InstantOf::<P>::now() + self.settings.request_timeout;
        loop {
            let leader = self.leadership.leader();
            let answer = match leader.filter(|leader| *leader != self.identity.member) {
                Some(leader) => self.ask_read_index(leader, deadline).await,
                None => self.confirm_leading(deadline).await?,
            };
            if let Some(index) = answer {
                return Ok(index);
            }
            if InstantOf::<P>::now() >= deadline {
                return Err(ReadIndexError::TimedOut);
            }
            self.await_leader(leader).await;
            if self.stop.has_begun() {
                return Err(ReadIndexError::Stopped);
            }
        }
    }

    /// How old a confirmation this member's reads may rely on; not at all as long as a voter has not
    /// promised to keep it.
    fn read_lease(&self) -> Option<Duration> {
        if self.settings.read_mode == ReadMode::ReadIndex {
            return None;
        }
        let metrics = self.metrics.borrow_watched();
        let voters = metrics.membership_config.membership().voter_ids().map(NodeId);
        let others = voters.filter(|id| *id != self.identity.member);
        let shortest = others.map(|id| self.peers.promise_of(id)).min();
        config::read_lease(&self.settings, shortest.unwrap_or(Duration::MAX))
    }

    /// As [`confirm_read_index`](Self::confirm_read_index), on the leader; `None` when this member
    /// does not lead.
    pub(super) async fn confirm_leading(
        &self,
        deadline: InstantOf<P>,
    ) -> Result<Option<LogIndex>, ReadIndexError> {
        // openraft asks its quorum itself when what it has from it is older than that.
        let option = match self.read_lease() {
            None => LinearizerOption::from(ReadPolicy::ReadIndex),
            Some(lease) => LinearizerOption::new(Some(lease), true),
        };
        loop {
            match self.raft.get_read_linearizer(option.clone()).await {
                Ok(confirmed) => return Ok(Some(log_index(confirmed.read_log_id().index()))),
                Err(RaftError::Fatal(_)) => return Err(ReadIndexError::Stopped),
                Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
                    if InstantOf::<P>::now() >= deadline {
                        return Err(ReadIndexError::TimedOut);
                    }
                }
                Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(_))) => {
                    return Ok(None);
                }
            }
        }
    }
}
