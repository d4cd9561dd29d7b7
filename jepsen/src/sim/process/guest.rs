//! Futures and streams as parts of a process.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::Stream;
use parking_lot::Mutex;

use super::{Gone, Mode, Process};

/// Something that lives in a process and dies with it.
pub(super) trait Resident: Send + Sync {
    fn evict(&self);
}

/// A future's place in its process.
struct Slot<T> {
    inner: Mutex<(Option<T>, Option<Waker>)>,
}

impl<T: Send> Resident for Slot<T> {
    fn evict(&self) {
        let (resident, waker) = {
            let mut inner = self.inner.lock();
            (inner.0.take(), inner.1.take())
        };
        drop(resident);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Something pinned that is polled inside a process.
pub(super) struct Guest<T: Send + 'static> {
    process: Process,
    slot: Arc<Slot<Pin<Box<T>>>>,
    number: Option<u64>,
}

impl<T: Send + 'static> Guest<T> {
    pub(super) fn new(process: &Process, resident: Pin<Box<T>>) -> Self {
        let slot = Arc::new(Slot { inner: Mutex::new((Some(resident), None)) });
        let number = process.settle_in(Arc::clone(&slot) as Arc<dyn Resident>);
        if number.is_none() {
            process.run(|| slot.evict());
        }
        Self { process: process.clone(), slot, number }
    }

    /// One poll inside the process; `Gone` when it has been killed.
    fn poll<R>(
        &self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut T>, &mut Context<'_>) -> Poll<R>,
    ) -> Poll<Result<R, Gone>> {
        {
            let mut state = self.process.shared.state.lock();
            match state.mode {
                Mode::Running => {}
                Mode::Dead => return Poll::Ready(Err(Gone)),
                Mode::Paused => {
                    state.parked.push(cx.waker().clone());
                    return Poll::Pending;
                }
            }
        }
        let Some(mut resident) = self.slot.inner.lock().0.take() else {
            return Poll::Ready(Err(Gone));
        };
        let process = &self.process;
        let polled = process.run(|| catch_unwind(AssertUnwindSafe(|| poll(resident.as_mut(), cx))));
        match polled {
            Ok(Poll::Ready(value)) => {
                *self.slot.inner.lock() = (Some(resident), None);
                Poll::Ready(Ok(value))
            }
            Ok(Poll::Pending) => {
                *self.slot.inner.lock() = (Some(resident), Some(cx.waker().clone()));
                Poll::Pending
            }
            Err(payload) => {
                process.note_panic(payload.as_ref());
                resume_unwind(payload)
            }
        }
    }
}

impl<T: Send + 'static> Drop for Guest<T> {
    fn drop(&mut self) {
        if let Some(number) = self.number.take() {
            self.process.move_out(number);
        }
        let resident = self.slot.inner.lock().0.take();
        self.process.run(|| drop(resident));
    }
}

/// See [`Process::enter`].
pub struct Inside<F: Send + 'static>(pub(super) Guest<F>);

impl<F: Future + Send + 'static> Future for Inside<F> {
    type Output = Result<F::Output, Gone>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx, Future::poll)
    }
}

impl<F: Send + 'static> fmt::Debug for Inside<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Inside").field(&self.0.process).finish()
    }
}

/// See [`Process::enter_stream`].
pub struct InsideStream<S: Send + 'static>(pub(super) Guest<S>);

impl<S: Stream + Send + 'static> Stream for InsideStream<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let polled = self.0.poll(cx, Stream::poll_next);
        polled.map(|item| item.unwrap_or(None))
    }
}

impl<S: Send + 'static> fmt::Debug for InsideStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InsideStream").field(&self.0.process).finish()
    }
}
