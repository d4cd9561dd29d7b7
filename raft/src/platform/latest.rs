//! A latest-value channel that behaves alike on every runtime.
//!
//! Tokio's own wakes its readers in an order drawn at random, which no seed replays; the runtimes'
//! trait promises no sharing between threads. Values here change a few times in a node's life.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// The writing end, shared behind a reference. Readers see the newest value and may miss older ones.
#[derive(Debug)]
pub(crate) struct Latest<T> {
    shared: Arc<Mutex<State<T>>>,
}

/// A reading end.
#[derive(Debug)]
pub(crate) struct LatestReader<T> {
    shared: Arc<Mutex<State<T>>>,
    seen: u64,
}

#[derive(Debug)]
struct State<T> {
    value: T,
    version: u64,
    closed: bool,
    waiting: Vec<oneshot::Sender<()>>,
}

impl<T: Clone + PartialEq> Latest<T> {
    pub(crate) fn new(value: T) -> Self {
        let state = State { value, version: 0, closed: false, waiting: Vec::new() };
        Self { shared: Arc::new(Mutex::new(state)) }
    }

    pub(crate) fn get(&self) -> T {
        self.shared.lock().value.clone()
    }

    /// Sets the value; equal ones are no news.
    pub(crate) fn set(&self, value: T) {
        self.update(|current| *current = value);
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut T)) {
        let mut state = self.shared.lock();
        let before = state.value.clone();
        change(&mut state.value);
        if state.value != before {
            state.version += 1;
            state.wake();
        }
    }

    /// A reader for whom the present value is still news.
    pub(crate) fn reader(&self) -> LatestReader<T> {
        LatestReader { shared: Arc::clone(&self.shared), seen: u64::MAX }
    }

    /// Waits until the value satisfies `wanted`.
    pub(crate) async fn until(&self, wanted: impl Fn(&T) -> bool) -> T {
        let mut reader = self.reader();
        while let Some(value) = reader.changed().await {
            if wanted(&value) {
                return value;
            }
        }
        unreachable!("the writing end is borrowed")
    }
}

impl<T> State<T> {
    fn wake(&mut self) {
        for waiter in self.waiting.drain(..) {
            let _ = waiter.send(());
        }
    }
}

impl<T> Drop for Latest<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.wake();
    }
}

impl<T: Clone> LatestReader<T> {
    pub(crate) fn get(&self) -> T {
        self.shared.lock().value.clone()
    }

    /// The next value not seen yet; `None` when the writing end is gone and all was seen.
    pub(crate) async fn changed(&mut self) -> Option<T> {
        loop {
            let news = {
                let mut state = self.shared.lock();
                if state.version != self.seen {
                    self.seen = state.version;
                    return Some(state.value.clone());
                }
                if state.closed {
                    return None;
                }
                let (waiter, news) = oneshot::channel();
                // Whoever gave up waiting must not pile up on a value that never changes.
                state.waiting.retain(|waiter| !waiter.is_closed());
                state.waiting.push(waiter);
                news
            };
            // Sent or dropped: either way there is something to look at.
            drop(news.await);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn a_reader_sees_the_newest_value_once() {
        let mut context = Context::from_waker(Waker::noop());
        let latest = Latest::new(1);
        let mut reader = latest.reader();
        assert_eq!(pin!(reader.changed()).poll(&mut context), Poll::Ready(Some(1)));
        latest.set(1);
        assert!(pin!(reader.changed()).poll(&mut context).is_pending(), "equal is no news");
        latest.set(2);
        latest.set(3);
        assert_eq!(pin!(reader.changed()).poll(&mut context), Poll::Ready(Some(3)));
        drop(latest);
        assert_eq!(pin!(reader.changed()).poll(&mut context), Poll::Ready(None));
    }
}
