//! Who leads, as this member knows it; and the news of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use openraft::ServerState;
use openraft_rt::{AsyncRuntime, Select2, WatchReceiver};
use vetch_storage::{NodeId, Term};

use super::{Inner, LeaderChange};
use crate::platform::Platform;
use crate::platform::latest::{Latest, LatestReader};

/// What the group's last message said about its leader.
#[derive(Debug)]
pub(crate) struct Leadership {
    term: AtomicU64,
    /// The term this member leads in; 0 while it does not.
    leading: AtomicU64,
    /// The leader; 0 while none is known.
    leader: AtomicU64,
    learner: AtomicBool,
    changes: Latest<LeaderChange>,
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

impl Leadership {
    pub(crate) fn new() -> Self {
        Self {
            term: AtomicU64::new(0),
            leading: AtomicU64::new(0),
            leader: AtomicU64::new(0),
            learner: AtomicBool::new(false),
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

    pub(crate) fn leader(&self) -> Option<NodeId> {
        let id = self.leader.load(Ordering::Acquire);
        (id != 0).then_some(NodeId(id))
    }

    pub(crate) fn is_learner(&self) -> bool {
        self.learner.load(Ordering::Acquire)
    }

    pub(crate) fn changes(&self) -> LeaderChanges {
        LeaderChanges { reader: self.changes.reader() }
    }

    /// Waits until this member leads.
    pub(crate) async fn until_leading(&self) {
        self.changes.until(|change| matches!(change, LeaderChange::Gained(_))).await;
    }

    #[cfg(test)]
    pub(crate) fn pretend_leading(&self, term: Term) {
        self.leading.store(term.0, Ordering::Release);
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
            leadership.leader.store(metrics.current_leader.unwrap_or(0), Ordering::Release);
            leadership.learner.store(metrics.state == ServerState::Learner, Ordering::Release);
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
                    // No quorum confirmed it: there is news to come.
                    Select2::Second(false) => {}
                }
            }
        }
        if news.changed().await.is_err() {
            break;
        }
    }
    leadership.lose();
    leadership.leader.store(0, Ordering::Release);
}

impl<P: Platform> Inner<P> {
    /// Waits until this member, just elected, has applied everything before its term. `true` when
    /// it has.
    async fn settle(&self, term: Term) -> bool {
        let Ok(index) = self.confirm_read_index().await else { return false };
        self.progress.wait(index).await.is_ok() && self.progress.applied_term() >= term
    }
}
