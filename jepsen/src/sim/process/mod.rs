//! A simulated process: tasks that can be paused and killed together, and a clock of their own.
//!
//! The runtime underneath knows tasks only. Here every task belongs to the process that spawned it,
//! so that a kill drops all of them between two polls, as a signal would, and a pause polls none of
//! them while the world goes on.

mod guest;

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Duration;

use futures::Stream;
use openraft_rt::Instant as _;
use openraft_rt_sim::SimInstant;
use parking_lot::Mutex;

use super::clock::Rate;
use guest::{Guest, Resident};
pub use guest::{Inside, InsideStream};

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

/// Virtual time since the world began.
pub fn world_time() -> Duration {
    SimInstant::now().elapsed_since_start()
}
