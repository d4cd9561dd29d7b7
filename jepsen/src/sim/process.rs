//! A simulated process: tasks that can be paused and killed together, and a clock of their own.
//!
//! The runtime underneath knows tasks only. Here every task belongs to the process that spawned it,
//! so that a kill drops all of them between two polls, as a signal would, and a pause polls none of
//! them while the world goes on.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::Stream;
use openraft_rt::Instant as _;
use openraft_rt_sim::SimInstant;
use parking_lot::Mutex;

use super::clock::Rate;

thread_local! {
    /// The process whose code runs on this thread right now.
    static CURRENT: RefCell<Option<Process>> = const { RefCell::new(None) };
}

/// The process has ended; what was asked of it will never be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// One life of one member's process. Clones are the same process.
#[derive(Clone)]
pub struct Process {
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    rate: Rate,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    mode: Mode,
    residents: BTreeMap<u64, Arc<dyn Resident>>,
    next: u64,
    /// Polls that came while the process was paused.
    parked: Vec<Waker>,
    /// What other devices told the process meanwhile.
    deferred: Vec<Box<dyn FnOnce() + Send>>,
    panics: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Running,
    Paused,
    Dead,
}

/// Something that lives in a process and dies with it.
trait Resident: Send + Sync {
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

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("name", &self.shared.name).finish_non_exhaustive()
    }
}

/// Tells whether a process is still held by anything, without holding it.
#[derive(Clone)]
pub(super) struct Remains(Weak<Shared>);

impl Remains {
    /// Nothing has it any more: no task, no machine, no member.
    pub(super) fn are_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

impl fmt::Debug for Remains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.upgrade().map(|shared| shared.name.clone());
        f.debug_struct("Remains").field("of", &name).finish()
    }
}

impl Process {
    /// A running process whose clock goes at `rate`.
    pub fn new(name: impl Into<String>, rate: Rate) -> Self {
        let shared = Shared { name: name.into(), rate, state: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// The process whose code runs here and now, if any.
    pub fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// What will be left of it.
    pub(super) fn remains(&self) -> Remains {
        Remains(Arc::downgrade(&self.shared))
    }

    /// How fast its clock goes.
    pub fn rate(&self) -> Rate {
        self.shared.rate
    }

    /// Whether it has been killed.
    pub fn is_dead(&self) -> bool {
        self.shared.state.lock().mode == Mode::Dead
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.shared.state.lock().mode == Mode::Paused
    }

    /// What its tasks panicked with.
    pub fn panics(&self) -> Vec<String> {
        self.shared.state.lock().panics.clone()
    }

    /// Runs `work` as code of this process.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        /// Puts back who was running, also when `work` panics.
        struct Back(Option<Process>);
        impl Drop for Back {
            fn drop(&mut self) {
                CURRENT.set(self.0.take());
            }
        }
        let _back = Back(CURRENT.replace(Some(self.clone())));
        work()
    }

    /// As [`run`](Self::run), when the process can: at once, after its pause, or never.
    pub fn tell(&self, work: impl FnOnce() + Send + 'static) {
        let mut state = self.shared.state.lock();
        match state.mode {
            Mode::Dead => {}
            Mode::Paused => state.deferred.push(Box::new(work)),
            Mode::Running => {
                drop(state);
                self.run(work);
            }
        }
    }

    /// Stops polling its tasks.
    pub fn pause(&self) {
        let mut state = self.shared.state.lock();
        if state.mode == Mode::Running {
            state.mode = Mode::Paused;
        }
    }

    /// Goes on after a pause.
    pub fn resume(&self) {
        let (deferred, parked) = {
            let mut state = self.shared.state.lock();
            if state.mode != Mode::Paused {
                return;
            }
            state.mode = Mode::Running;
            (std::mem::take(&mut state.deferred), std::mem::take(&mut state.parked))
        };
        for work in deferred {
            self.tell(work);
        }
        for waker in parked {
            waker.wake();
        }
    }

    /// Drops everything that lives in it. Whoever waits for it is told [`Gone`].
    pub fn kill(&self) {
        let (residents, deferred) = {
            let mut state = self.shared.state.lock();
            state.mode = Mode::Dead;
            state.parked.clear();
            (std::mem::take(&mut state.residents), std::mem::take(&mut state.deferred))
        };
        self.run(|| {
            drop(deferred);
            for resident in residents.values() {
                resident.evict();
            }
        });
    }

    /// `future` as a part of this process: polled only while it runs, dropped when it is killed.
    pub fn enter<F: Future + Send + 'static>(&self, future: F) -> Inside<F> {
        Inside(Guest::new(self, Box::pin(future)))
    }

    /// `stream` as a part of this process; it ends when the process is killed.
    pub fn enter_stream<S: Stream + Send + 'static>(&self, stream: S) -> InsideStream<S> {
        InsideStream(Guest::new(self, Box::pin(stream)))
    }

    fn settle_in(&self, resident: Arc<dyn Resident>) -> Option<u64> {
        let mut state = self.shared.state.lock();
        if state.mode == Mode::Dead {
            return None;
        }
        let number = state.next;
        state.next += 1;
        state.residents.insert(number, resident);
        Some(number)
    }

    fn move_out(&self, number: u64) {
        let resident = self.shared.state.lock().residents.remove(&number);
        drop(resident);
    }

    fn note_panic(&self, payload: &(dyn Any + Send)) {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        let text = text.unwrap_or_else(|| "a panic without words".to_owned());
        self.shared.state.lock().panics.push(text);
    }
}

/// Something pinned that is polled inside a process.
struct Guest<T: Send + 'static> {
    process: Process,
    slot: Arc<Slot<Pin<Box<T>>>>,
    number: Option<u64>,
}

impl<T: Send + 'static> Guest<T> {
    fn new(process: &Process, resident: Pin<Box<T>>) -> Self {
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
pub struct Inside<F: Send + 'static>(Guest<F>);

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
pub struct InsideStream<S: Send + 'static>(Guest<S>);

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

/// Virtual time since the world began.
pub fn world_time() -> Duration {
    SimInstant::now().elapsed_since_start()
}
