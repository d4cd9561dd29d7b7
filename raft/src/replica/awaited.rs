//! Proposals that another member leads into the log and this one answers when it applies them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use vetch_storage::{Applied, Term};

/// Who waits for which request.
#[derive(Debug)]
pub(crate) struct Awaited {
    /// Begins at random, so that no two lives of any members count through the same range.
    next_id: AtomicU64,
    /// As many as `waiting` holds; spares the applying task a lock where nobody waits.
    count: AtomicUsize,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    closed: bool,
    /// Of the newest entry that was applied and answered.
    term: Term,
    by_id: BTreeMap<u64, Waiter>,
}

#[derive(Debug)]
struct Waiter {
    /// The only term in which the request can enter a log; `None` if any.
    term: Option<Term>,
    sender: oneshot::Sender<Fate>,
}

/// What became of a request.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    /// It was applied here.
    Applied(Arc<Applied>),
    /// It never will be, by any member: an entry of a later term than the only one it may have entered
    /// a log in is committed, and whatever was committed before that has been applied here.
    Lost,
    /// Perhaps it is in the state of a peer that has taken the place of this member's own.
    Unknown,
}

/// One waiter; waits no more when dropped.
#[derive(Debug)]
pub(crate) struct Waits<'a> {
    awaited: &'a Awaited,
    id: u64,
    pub(crate) arrives: oneshot::Receiver<Fate>,
}

impl Awaited {
    pub(crate) fn new(random: u64) -> Self {
        Self { next_id: random.into(), count: AtomicUsize::new(0), waiting: Mutex::default() }
    }

    /// An id for a proposal of this member's.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Waits for the proposal `id`, which enters no log but in `term`, to be applied here. Begun before
    /// it is sent anywhere.
    pub(crate) fn register(&self, id: u64, term: Option<Term>) -> Waits<'_> {
        let (sender, arrives) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        if term.is_some_and(|term| term < waiting.term) {
            drop(sender.send(Fate::Lost));
        } else if !waiting.closed {
            waiting.by_id.insert(id, Waiter { term, sender });
            self.count.store(waiting.by_id.len(), Ordering::Release);
        }
        Waits { awaited: self, id, arrives }
    }

    /// Whether somebody may wait at all.
    pub(crate) fn anybody(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    /// `id` was applied, and is visible.
    pub(crate) fn applied(&self, id: u64, applied: &Arc<Applied>) {
        let waiter = self.remove(id);
        if let Some(waiter) = waiter {
            drop(waiter.sender.send(Fate::Applied(Arc::clone(applied))));
        }
    }

    /// Everything up to an entry of `term` was applied, and answered.
    pub(crate) fn reached(&self, term: Term) {
        self.end(term, |waiter| waiter.term.is_some_and(|of| of < term), &Fate::Lost);
    }

    /// A state from a peer, which ends with an entry of `term`, took the place of this one.
    pub(crate) fn replaced(&self, term: Term) {
        self.end(term, |_| true, &Fate::Unknown);
    }

    fn end(&self, term: Term, ends: impl Fn(&Waiter) -> bool, fate: &Fate) {
        let mut waiting = self.waiting.lock();
        waiting.term = term;
        let ended: Vec<u64> =
            waiting.by_id.iter().filter(|(_, waiter)| ends(waiter)).map(|(id, _)| *id).collect();
        for waiter in ended.into_iter().filter_map(|id| waiting.by_id.remove(&id)) {
            drop(waiter.sender.send(fate.clone()));
        }
        self.count.store(waiting.by_id.len(), Ordering::Release);
    }

    /// Nothing more will be applied: everyone who waits is told.
    pub(crate) fn close(&self) {
        let mut waiting = self.waiting.lock();
        waiting.closed = true;
        waiting.by_id.clear();
        self.count.store(0, Ordering::Release);
    }

    fn remove(&self, id: u64) -> Option<Waiter> {
        let mut waiting = self.waiting.lock();
        let waiter = waiting.by_id.remove(&id);
        self.count.store(waiting.by_id.len(), Ordering::Release);
        waiter
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        drop(self.awaited.remove(self.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fate(waits: &mut Waits<'_>) -> Option<Fate> {
        waits.arrives.try_recv().ok()
    }

    #[test]
    fn a_later_term_ends_the_wait_of_those_that_are_bound_to_an_earlier_one() {
        let awaited = Awaited::new(0);
        let mut bound = awaited.register(1, Some(Term(2)));
        let mut free = awaited.register(2, None);
        awaited.reached(Term(2));
        assert!(fate(&mut bound).is_none(), "its own term");
        awaited.reached(Term(3));
        assert!(matches!(fate(&mut bound), Some(Fate::Lost)));
        assert!(fate(&mut free).is_none());
        let mut late = awaited.register(3, Some(Term(2)));
        assert!(matches!(fate(&mut late), Some(Fate::Lost)), "its term is over already");
        let mut current = awaited.register(4, Some(Term(3)));
        assert!(fate(&mut current).is_none());
        awaited.replaced(Term(3));
        for waits in [&mut free, &mut current] {
            assert!(matches!(fate(waits), Some(Fate::Unknown)));
        }
        assert!(!awaited.anybody());
    }
}
