//! The applied index, and who waits for it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use vetch_storage::{LogId, LogIndex, Term};

/// What this member has applied.
///
/// **Invariant:** the index never goes back, and it is advanced only after the state it stands for
/// is visible and its events are published.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    index: AtomicU64,
    term: AtomicU64,
    sole_voter: AtomicBool,
    learner: AtomicBool,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    closed: bool,
    by_index: BTreeMap<LogIndex, Vec<oneshot::Sender<()>>>,
}

/// The replica stopped before the index was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

impl Progress {
    /// Everything up to `id` is visible.
    pub(crate) fn advance(&self, id: LogId) {
        let mut waiting = self.waiting.lock();
        debug_assert!(self.index.load(Ordering::Relaxed) <= id.index.0, "applied index went back");
        // Index before term: who reads the term first finds an index at least as new.
        self.index.store(id.index.0, Ordering::Release);
        self.term.store(id.term.0, Ordering::Release);
        while let Some(entry) = waiting.by_index.first_entry() {
            if *entry.key() > id.index {
                break;
            }
            for waiter in entry.remove() {
                let _ = waiter.send(());
            }
        }
    }

    pub(crate) fn applied(&self) -> LogIndex {
        LogIndex(self.index.load(Ordering::Acquire))
    }

    /// The term of the newest applied entry. Read before [`applied`](Self::applied) it tells that
    /// the index covers at least one entry of that term.
    pub(crate) fn applied_term(&self) -> Term {
        Term(self.term.load(Ordering::Acquire))
    }

    /// This member is the only voter of the applied membership.
    pub(crate) fn is_sole_voter(&self) -> bool {
        self.sole_voter.load(Ordering::Acquire)
    }

    pub(crate) fn set_sole_voter(&self, sole: bool) {
        self.sole_voter.store(sole, Ordering::Release);
    }

    /// This member is a learner of the applied member table.
    pub(crate) fn is_learner(&self) -> bool {
        self.learner.load(Ordering::Acquire)
    }

    pub(crate) fn set_learner(&self, learner: bool) {
        self.learner.store(learner, Ordering::Release);
    }

    /// Waits until `index` is applied.
    pub(crate) async fn wait(&self, index: LogIndex) -> Result<(), Closed> {
        let arrives = {
            let mut waiting = self.waiting.lock();
            if self.applied() >= index {
                return Ok(());
            }
            if waiting.closed {
                return Err(Closed);
            }
            let (waiter, arrives) = oneshot::channel();
            let waiters = waiting.by_index.entry(index).or_default();
            // Whoever gave up waiting must not pile up on an index that never comes.
            waiters.retain(|waiter| !waiter.is_closed());
            waiters.push(waiter);
            arrives
        };
        arrives.await.or(Err(Closed))
    }

    /// Nothing more will be applied: everyone who waits is told.
    pub(crate) fn close(&self) {
        let mut waiting = self.waiting.lock();
        waiting.closed = true;
        waiting.by_index.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn id(index: u64) -> LogId {
        LogId { term: Term(1), index: LogIndex(index) }
    }

    #[test]
    fn waiters_wake_at_their_index_and_not_before() {
        let progress = Progress::default();
        let mut context = Context::from_waker(Waker::noop());
        let mut third = pin!(progress.wait(LogIndex(3)));
        assert!(third.as_mut().poll(&mut context).is_pending());
        progress.advance(id(2));
        assert!(third.as_mut().poll(&mut context).is_pending());
        progress.advance(id(5));
        assert_eq!(third.as_mut().poll(&mut context), Poll::Ready(Ok(())));
        assert_eq!(pin!(progress.wait(LogIndex(5))).poll(&mut context), Poll::Ready(Ok(())));
    }

    #[test]
    fn closing_tells_everyone_who_waits() {
        let progress = Progress::default();
        let mut context = Context::from_waker(Waker::noop());
        let mut waits = pin!(progress.wait(LogIndex(1)));
        assert!(waits.as_mut().poll(&mut context).is_pending());
        progress.close();
        assert_eq!(waits.as_mut().poll(&mut context), Poll::Ready(Err(Closed)));
        assert_eq!(pin!(progress.wait(LogIndex(1))).poll(&mut context), Poll::Ready(Err(Closed)));
    }
}
