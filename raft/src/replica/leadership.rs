//! Who leads, as this member knows it; and the news of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use openraft::{RaftMetrics, ServerState};
use openraft_rt::{AsyncRuntime, Instant, Select2, WatchReceiver};
use parking_lot::Mutex;
use vetch_storage::{NodeId, Term};

use super::Inner;
use crate::platform::latest::{Latest, LatestReader};
use crate::platform::{InstantOf, Platform};
use crate::types::TypeConfig;

/// What the group's last message said about its leader.
#[derive(Debug)]
pub(crate) struct Leadership<I> {
    term: AtomicU64,
    /// The term this member leads in; 0 while it does not.
    leading: AtomicU64,
    /// The leader; 0 while none is known. It may have died since.
    leader: AtomicU64,
    leaders: Latest<Option<NodeId>>,
    /// When this member, following, last heard from its leader.
    heard: Mutex<Option<I>>,
    changes: Latest<LeaderChange>,
}

/// Leadership gained or lost, as the lease driver needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaderChange {
    /// This member leads in this term and has applied everything before it.
    Gained(Term),
    /// This member leads no more.
    Lost,
}

/// News of leadership gained and lost. Shows the newest state: a reader that was away for a loss and
/// a regain sees the regain only, in its newer term.
#[derive(Debug)]
pub struct LeaderChanges {
    reader: LatestReader<LeaderChange>,
}

impl LeaderChanges {
    /// What holds now.
    pub fn current(&self) -> LeaderChange {
        self.reader.get()
    }

    /// The newest state not seen here yet, at first the present one; `None` when the replica is gone.
    pub async fn changed(&mut self) -> Option<LeaderChange> {
        self.reader.changed().await
    }
}

/// The leaders one member sees, one after the other. Shows the newest: who was away may miss some.
#[derive(Debug)]
pub struct Leaders {
    reader: LatestReader<Option<NodeId>>,
}

impl Leaders {
    /// The leader, when it is another than before, at first the present one; `None` in between, while
    /// there is none. Ends when the replica is gone.
    pub async fn changed(&mut self) -> Option<Option<NodeId>> {
        self.reader.changed().await
    }
}

impl<I: Instant> Leadership<I> {
    pub(crate) fn new() -> Self {
        Self {
            term: AtomicU64::new(0),
            leading: AtomicU64::new(0),
            leader: AtomicU64::new(0),
            leaders: Latest::new(None),
            heard: Mutex::new(None),
            changes: Latest::new(LeaderChange::Lost),
        }
    }

    pub(crate) fn term(&self) -> Term {
        Term(self.term.load(Ordering::Acquire))
    }

    /// The term this member leads in.
    pub(crate) fn leading(&self) -> Option<Term> {
        let term = self.leading.load(Ordering::Acquire);
        (term != 0).then_some(Term(term))
    }

    /// The leader that this member's vote names; nothing says that it still lives.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        let id = self.leader.load(Ordering::Acquire);
        (id != 0).then_some(NodeId(id))
    }

    /// Waits until the leader is another than `tried`.
    pub(crate) async fn until_other_than(&self, tried: Option<NodeId>) {
        self.leaders.until(|leader| *leader != tried).await;
    }

    /// The leader has spoken to this member.
    pub(crate) fn heard(&self, now: I) {
        *self.heard.lock() = Some(now);
    }

    /// When the leader last spoke to this member.
    pub(crate) fn last_heard(&self) -> Option<I> {
        *self.heard.lock()
    }

    pub(crate) fn changes(&self) -> LeaderChanges {
        LeaderChanges { reader: self.changes.reader() }
    }

    pub(crate) fn leaders(&self) -> Leaders {
        Leaders { reader: self.leaders.reader() }
    }

    /// Waits until this member leads.
    pub(crate) async fn until_leading(&self) {
        self.changes.until(|change| matches!(change, LeaderChange::Gained(_))).await;
    }

    #[cfg(test)]
    pub(crate) fn pretend_leading(&self, term: Term) {
        self.leading.store(term.0, Ordering::Release);
    }

    fn set_leader(&self, leader: Option<NodeId>) {
        self.leader.store(leader.map_or(0, |id| id.0), Ordering::Release);
        self.leaders.set(leader);
    }

    fn lose(&self) {
        self.leading.store(0, Ordering::Release);
        self.changes.set(LeaderChange::Lost);
    }
}

/// Follows openraft's view of the group until it stops.
pub(super) async fn follow<P: Platform>(inner: Arc<Inner<P>>) {
    let leadership = &inner.leadership;
    let mut news = inner.raft.server_metrics();
    loop {
        let gained = {
            let metrics = news.borrow_and_update();
            let term = metrics.vote.leader_id().term;
            leadership.term.store(term, Ordering::Release);
            leadership.set_leader(metrics.current_leader.map(NodeId));
            (metrics.state == ServerState::Leader).then_some(Term(term))
        };
        let announced = leadership.changes.get();
        match gained {
            None => leadership.lose(),
            Some(term) if announced == LeaderChange::Gained(term) => {}
            Some(term) => {
                leadership.lose();
                // A change while we wait is looked at first: it may say that we lead no more.
                let settled = inner.settle(term);
                match P::Runtime::select2(news.changed(), settled).await {
                    Select2::First(Ok(())) => continue,
                    Select2::First(Err(_)) => break,
                    Select2::Second(true) => {
                        leadership.leading.store(term.0, Ordering::Release);
                        leadership.changes.set(LeaderChange::Gained(term));
                    }
                    // Not confirmed in time. A leader that was cut off as soon as it was elected may
                    // lead all the same once it is not, and nothing else would tell.
                    Select2::Second(false) => {
                        let pause = P::Runtime::sleep(inner.settings.heartbeat_interval);
                        match P::Runtime::select2(news.changed(), pause).await {
                            Select2::First(Err(_)) => break,
                            Select2::First(Ok(())) | Select2::Second(()) => continue,
                        }
                    }
                }
            }
        }
        if news.changed().await.is_err() {
            break;
        }
    }
    leadership.lose();
    leadership.set_leader(None);
}

impl<P: Platform> Inner<P> {
    /// The leader, only while it is known to have a quorum behind it: as long as it was heard from, or
    /// a quorum heard from it, within an election timeout.
    pub(super) fn leader_with_quorum(&self) -> Option<NodeId> {
        let leader = self.leadership.leader()?;
        let last = if leader == self.identity.member {
            let metrics = self.metrics.borrow_watched();
            if self.is_only_voter_in(&metrics) {
                return Some(leader);
            }
            metrics.last_quorum_acked.map(|acked| *acked)
        } else {
            self.leadership.last_heard()
        };
        let recent = last.is_some_and(|last| last.elapsed() < self.settings.election_timeout);
        recent.then_some(leader)
    }

    /// Whether this member decides alone. A second voter counts from when it is in the log, applied or not.
    pub(super) fn is_only_voter_in(&self, metrics: &RaftMetrics<TypeConfig<P::Runtime>>) -> bool {
        metrics.membership_config.membership().voter_ids().eq([self.identity.member.0])
    }

    /// Waits until the leader is another than `tried`, or for a heartbeat's time: the one that was
    /// tried may have been on its way in or out.
    pub(super) async fn await_leader(&self, tried: Option<NodeId>) {
        let news = self.leadership.until_other_than(tried);
        let pause = P::Runtime::sleep(self.settings.heartbeat_interval);
        let _first = P::Runtime::select2(news, pause).await;
    }

    /// Waits until this member, just elected, has applied everything before its term. `true` when
    /// it has.
    async fn settle(&self, term: Term) -> bool {
        let deadline = InstantOf::<P>::now() + self.settings.request_timeout;
        let Ok(Some(index)) = self.confirm_leading(deadline).await else { return false };
        self.progress.wait(index).await.is_ok() && self.progress.applied_term() >= term
    }
}
