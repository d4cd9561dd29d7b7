//! Tells clients whether the server is up.

use tokio::sync::watch;

/// What clients know of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not serving; wait.
    Down,
    /// Serving for the given time since the start of the run.
    Up(u32),
    /// The run is over; finish.
    Over,
}

/// The runner's side.
#[derive(Debug)]
pub(super) struct Gate(watch::Sender<State>);

/// A client's side.
#[derive(Clone, Debug)]
pub(super) struct Entrance(watch::Receiver<State>);

impl Gate {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(State::Down))
    }

    pub(super) fn set(&self, state: State) {
        self.0.send_replace(state);
    }

    pub(super) fn entrance(&self) -> Entrance {
        Entrance(self.0.subscribe())
    }
}

impl Entrance {
    /// Waits until the server is up; `None` once the run is over.
    pub(super) async fn open(&mut self) -> Option<u32> {
        let decided = |state: &State| *state != State::Down;
        match *self.0.wait_for(decided).await.ok()? {
            State::Up(epoch) => Some(epoch),
            State::Down | State::Over => None,
        }
    }

    /// True while the server is up, as far as the runner knows.
    pub(super) fn is_open(&self, epoch: u32) -> bool {
        *self.0.borrow() == State::Up(epoch)
    }

    /// Waits until the server is no longer up for the given time.
    pub(super) async fn closed(&mut self, epoch: u32) {
        // An error means the runner is gone, which closes the gate as well.
        drop(self.0.wait_for(|state| *state != State::Up(epoch)).await);
    }
}
