//! What a stream has yet to send: bounded in bytes, filled without waiting, emptied by the body.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tonic::Status;
use vetch_storage::mvcc::key_range::KeyRange;
use vetch_storage::{Event, EventKind, Revision};

use super::shared_batch::SharedBatch;

/// What a client asked for when it created a watcher.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the request")]
pub struct WatcherInfo {
    /// The id on the stream.
    pub watch_id: i64,
    /// The keys.
    pub range: KeyRange,
    /// Drop puts.
    pub no_put: bool,
    /// Drop deletions.
    pub no_delete: bool,
    /// Add the previous record to each event.
    pub prev_kv: bool,
    /// Large responses may be split.
    pub fragment: bool,
    /// Tell the revision now and then while nothing happens.
    pub progress_notify: bool,
}

impl WatcherInfo {
    /// Whether the filters let an event through.
    pub fn wants(&self, event: &Event) -> bool {
        match event.kind {
            EventKind::Put => !self.no_put,
            EventKind::Delete => !self.no_delete,
        }
    }
}

/// Some events of one revision, by position.
#[derive(Debug)]
pub struct Selected {
    /// The revision's events.
    pub batch: Arc<SharedBatch>,
    /// Which of them, ascending; never empty.
    pub positions: SmallVec<[u32; 4]>,
}

/// One thing to send.
#[derive(Debug)]
pub enum Item {
    /// A framed response.
    Control(Bytes),
    /// A watcher ends: the history it was to get next is compacted.
    Compacted {
        /// Whose.
        watch_id: i64,
        /// The oldest revision that can still be watched from.
        compacted: Revision,
    },
    /// A watcher's events of one or more whole revisions, ascending.
    Events {
        /// Whose.
        watcher: Arc<WatcherInfo>,
        /// The revision the header tells.
        header_revision: Revision,
        /// The events.
        revisions: SmallVec<[Selected; 1]>,
    },
}

/// About what a cancellation takes on the wire.
const CANCEL_BYTES: usize = 64;

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Self::Control(frame) => frame.len(),
            Self::Compacted { .. } => CANCEL_BYTES,
            Self::Events { revisions, .. } => {
                revisions.iter().map(|selected| selected.batch.bytes()).sum()
            }
        }
    }

    /// Bytes that only the client's own requests make.
    fn answer_bytes(&self) -> usize {
        match self {
            Self::Control(_) | Self::Compacted { .. } => self.bytes(),
            Self::Events { .. } => 0,
        }
    }

    /// Events in it.
    pub fn events(&self) -> usize {
        match self {
            Self::Control(_) | Self::Compacted { .. } => 0,
            Self::Events { revisions, .. } => {
                revisions.iter().map(|selected| selected.positions.len()).sum()
            }
        }
    }
}

/// What the body gets.
#[derive(Debug)]
pub enum Next {
    /// Something to send.
    Item(Item),
    /// The stream is over.
    Ended(Status),
}

#[derive(Debug)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    /// Of them, what answers requests.
    answer_bytes: usize,
    ended: Option<Status>,
    is_closed: bool,
    body: Option<Waker>,
}

/// The queue between the hub and one stream's body.
#[derive(Debug)]
pub struct Outbox {
    state: Mutex<State>,
    max_bytes: usize,
    /// Events that wait, in all outboxes of the node.
    pending: Arc<AtomicI64>,
    /// Room was made, or the stream is over.
    drained: Notify,
    /// Whose turn it is to add history; in the order of asking.
    turns: Semaphore,
}

/// Answers that may wait, in outboxes.
const MAX_ANSWERS: usize = 8;

impl Outbox {
    /// An empty outbox. It takes an item as long as less than `max_bytes` wait.
    /// `pending` is the node's count of waiting events.
    pub fn new(max_bytes: usize, pending: Arc<AtomicI64>) -> Self {
        let state = State {
            items: VecDeque::new(),
            bytes: 0,
            answer_bytes: 0,
            ended: None,
            is_closed: false,
            body: None,
        };
        let (drained, turns) = (Notify::new(), Semaphore::new(1));
        Self { state: Mutex::new(state), max_bytes, pending, drained, turns }
    }

    /// Whether events must wait.
    pub fn is_full(&self) -> bool {
        self.state.lock().bytes >= self.max_bytes
    }

    /// Adds an item, also to a full outbox: whoever adds events asks [`is_full`](Self::is_full)
    /// first, and a revision is not split however large it is. An answer to a request is always taken;
    /// a client that lets answers pile up beyond measure loses the stream.
    pub fn push(&self, item: Item) {
        let mut state = self.state.lock();
        if state.is_closed || state.ended.is_some() {
            return;
        }
        state.bytes += item.bytes();
        state.answer_bytes += item.answer_bytes();
        self.pending.fetch_add(count(item.events()), Ordering::Relaxed);
        state.items.push_back(item);
        if state.answer_bytes > MAX_ANSWERS * self.max_bytes {
            let reason = "vetch: the client asks but does not read what is answered";
            state.ended = Some(Status::resource_exhausted(reason));
        }
        wake(&mut state);
    }

    /// Ends the stream, behind what waits.
    pub fn end(&self, status: Status) {
        let mut state = self.state.lock();
        state.ended.get_or_insert(status);
        wake(&mut state);
        drop(state);
        self.drained.notify_waiters();
    }

    /// Ends the stream before what waits: that would come behind what could not be told.
    pub fn fail(&self, status: Status) {
        self.end(status);
        self.close();
    }

    /// The client is gone: what waits is dropped, nothing is taken any more.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        let items = std::mem::take(&mut state.items);
        (state.bytes, state.answer_bytes) = (0, 0);
        drop(state);
        let dropped = items.iter().map(Item::events).sum();
        self.pending.fetch_sub(count(dropped), Ordering::Relaxed);
        drop(items);
        self.drained.notify_waiters();
    }

    /// Waits for the right to push a piece of history; `None` when the stream is over.
    ///
    /// One watcher at a time, or all that are behind would each find room and together pass the bound
    /// by as many pieces as they are; in turn, so that a long replay holds nobody up.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        let turn = self.turns.acquire().await.expect("it is never closed");
        self.room().await.then_some(turn)
    }

    /// Waits until events may be pushed; `false` when the stream is over.
    async fn room(&self) -> bool {
        loop {
            let drained = self.drained.notified();
            tokio::pin!(drained);
            // Registered before looking, so that a change in between is not missed.
            drained.as_mut().enable();
            {
                let state = self.state.lock();
                if state.is_closed || state.ended.is_some() {
                    return false;
                }
                if state.bytes < self.max_bytes {
                    return true;
                }
            }
            drained.await;
        }
    }

    /// Waits until the stream is over.
    pub async fn over(&self) {
        loop {
            let drained = self.drained.notified();
            tokio::pin!(drained);
            drained.as_mut().enable();
            if self.is_over() {
                return;
            }
            drained.await;
        }
    }

    fn is_over(&self) -> bool {
        let state = self.state.lock();
        state.is_closed || state.ended.is_some()
    }

    /// The next item for the body.
    pub fn poll_next(&self, cx: &Context<'_>) -> Poll<Next> {
        let mut state = self.state.lock();
        let Some(item) = state.items.pop_front() else {
            if let Some(status) = &state.ended {
                return Poll::Ready(Next::Ended(status.clone()));
            }
            state.body = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let was_full = state.bytes >= self.max_bytes;
        state.bytes -= item.bytes();
        state.answer_bytes -= item.answer_bytes();
        self.pending.fetch_sub(count(item.events()), Ordering::Relaxed);
        let has_room = state.bytes < self.max_bytes;
        drop(state);
        if was_full && has_room {
            self.drained.notify_waiters();
        }
        Poll::Ready(Next::Item(item))
    }
}

fn count(events: usize) -> i64 {
    i64::try_from(events).unwrap_or(i64::MAX)
}

fn wake(state: &mut State) {
    if let Some(body) = state.body.take() {
        body.wake();
    }
}
