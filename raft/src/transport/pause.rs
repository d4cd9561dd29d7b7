//! A pause before a peer that could not be reached is tried again.
//!
//! openraft 0.10.0-alpha.37 has one of its own, but inside the stream of requests: a connection that is
//! refused before a request is drawn from it is tried again at once, some 45,000 times a second.

use std::time::Duration;

use openraft_rt::{AsyncRuntime, Instant};
use parking_lot::Mutex;

const SHORTEST: Duration = Duration::from_millis(5);

/// Of one peer: doubles with each failure, up to a bound, and ends with the first success.
#[derive(Debug)]
pub(crate) struct Pause<R: AsyncRuntime> {
    longest: Duration,
    state: Mutex<State<R::Instant>>,
}

#[derive(Debug)]
struct State<I> {
    next: Duration,
    until: Option<I>,
}

impl<R: AsyncRuntime> Pause<R> {
    pub(crate) fn new(longest: Duration) -> Self {
        let next = SHORTEST.min(longest);
        Self { longest, state: Mutex::new(State { next, until: None }) }
    }

    /// Waits until the peer may be tried.
    pub(crate) async fn over(&self) {
        let until = self.state.lock().until;
        if let Some(until) = until {
            R::sleep_until(until).await;
        }
    }

    /// Whether the peer may be tried now.
    pub(crate) fn is_over(&self) -> bool {
        self.state.lock().until.is_none_or(|until| R::Instant::now() >= until)
    }

    pub(crate) fn failed(&self) {
        let mut state = self.state.lock();
        state.until = Some(R::Instant::now() + state.next);
        state.next = (state.next * 2).min(self.longest);
    }

    pub(crate) fn succeeded(&self) {
        let mut state = self.state.lock();
        if state.until.is_some() {
            *state = State { next: SHORTEST.min(self.longest), until: None };
        }
    }
}
