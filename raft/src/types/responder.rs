//! How openraft answers a waiting proposer.

use std::fmt;

use openraft::RaftTypeConfig;
use openraft::raft::responder::Responder;
use tokio::sync::oneshot;

use crate::replica::admission::Permit;

/// Carries one answer to one waiter and, until then, the proposal's place in the queue.
///
/// The permit lives here and not with the waiter, because a client that gives up leaves its entry in
/// the log: what bounds memory is how much openraft holds, not who still listens.
pub struct Waiter<T> {
    answer: oneshot::Sender<T>,
    _permit: Option<Permit>,
}

impl<T> Waiter<T> {
    /// A waiter and where its answer arrives.
    pub fn new(permit: Option<Permit>) -> (Self, oneshot::Receiver<T>) {
        let (answer, arrives) = oneshot::channel();
        (Self { answer, _permit: permit }, arrives)
    }
}

impl<T> fmt::Debug for Waiter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiter")
    }
}

impl<C: RaftTypeConfig, T: Send + 'static> Responder<C, T> for Waiter<T> {
    fn on_complete(self, result: T) {
        // A waiter whose deadline passed no longer listens; its entry is applied all the same.
        drop(self.answer.send(result));
    }
}
