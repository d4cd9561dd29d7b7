//! Proposals that another member leads into the log and this one answers when it applies them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use vetch_storage::Applied;

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
    by_id: BTreeMap<u64, oneshot::Sender<Arc<Applied>>>,
}

/// One waiter; waits no more when dropped.
#[derive(Debug)]
pub(crate) struct Waits<'a> {
    awaited: &'a Awaited,
    id: u64,
    pub(crate) arrives: oneshot::Receiver<Arc<Applied>>,
}

impl Awaited {
    pub(crate) fn new(random: u64) -> Self {
        Self { next_id: random.into(), count: AtomicUsize::new(0), waiting: Mutex::default() }
    }

    /// An id for a proposal of this member's.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Waits for the proposal `id` to be applied here. Begun before it is sent anywhere.
    pub(crate) fn register(&self, id: u64) -> Waits<'_> {
        let (sender, arrives) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        if !waiting.closed {
            waiting.by_id.insert(id, sender);
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
            drop(waiter.send(Arc::clone(applied)));
        }
    }

    /// Nothing more will be applied: everyone who waits is told.
    pub(crate) fn close(&self) {
        let mut waiting = self.waiting.lock();
        waiting.closed = true;
        waiting.by_id.clear();
        self.count.store(0, Ordering::Release);
    }

    fn remove(&self, id: u64) -> Option<oneshot::Sender<Arc<Applied>>> {
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
