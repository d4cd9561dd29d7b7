//! Collects operations from many concurrent clients.

use super::{Op, Operation, Outcome};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A moment of a run: a logical position, which is what checkers use, and the time for people.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Stamp {
    /// Position among all stamps of the recorder; unique, so real-time order is total.
    pub order: u64,
    /// Nanoseconds of the monotonic clock since the recorder was made.
    pub nanos: u64,
}

/// Names an operation that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpId(usize);

/// Takes stamps and operations from many tasks; clones record into the same history.
///
/// An operation that is begun and never finished stays `Unknown`: a client that is torn down in
/// the middle of a call loses nothing of what the checker must consider.
#[derive(Clone)]
pub struct Recorder {
    shared: Arc<Mutex<Recording>>,
    clock: Arc<Clock>,
}

/// Time since the run began.
type Clock = dyn Fn() -> Duration + Send + Sync;

#[derive(Debug, Default)]
struct Recording {
    next_order: u64,
    operations: Vec<Operation>,
}

impl Default for Recorder {
    fn default() -> Self {
        let started = Instant::now();
        Self::with_clock(move || started.elapsed())
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("operations", &self.len()).finish_non_exhaustive()
    }
}

impl Recorder {
    /// A recorder whose stamps show another clock's time, such as a simulated one's.
    pub fn with_clock(clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self { shared: Arc::default(), clock: Arc::new(clock) }
    }

    /// Records that `client` is about to send `op`.
    pub fn begin(&self, client: u32, op: Op) -> OpId {
        self.with(|recording, invoke| {
            let index = recording.operations.len();
            recording.operations.push(Operation {
                id: index as u64,
                client,
                invoke,
                complete: None,
                op,
                outcome: Outcome::Unknown("the run ended before an answer".into()),
            });
            OpId(index)
        })
    }

    /// Records what came of it.
    pub fn finish(&self, id: OpId, outcome: Outcome) {
        self.with(|recording, complete| {
            let operation = &mut recording.operations[id.0];
            debug_assert_eq!(operation.complete, None, "finished twice");
            operation.complete = Some(complete);
            operation.outcome = outcome;
        });
    }

    /// A stamp for something that is not an operation, such as a watch response.
    pub fn stamp(&self) -> Stamp {
        self.with(|_, stamp| stamp)
    }

    /// The history so far, in order of invocation.
    pub fn history(&self) -> Vec<Operation> {
        self.with(|recording, _| recording.operations.clone())
    }

    /// How many operations were begun.
    pub fn len(&self) -> usize {
        self.with(|recording, _| recording.operations.len())
    }

    /// True if nothing was begun.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The stamp is taken under the lock, so the order of stamps is the order of the recording.
    fn with<T>(&self, record: impl FnOnce(&mut Recording, Stamp) -> T) -> T {
        let mut recording = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let nanos = u64::try_from((self.clock)().as_nanos()).unwrap_or(u64::MAX);
        let stamp = Stamp { order: recording.next_order, nanos };
        recording.next_order += 1;
        record(&mut recording, stamp)
    }
}

#[cfg(test)]
mod tests {
    use super::{Op, Outcome, Recorder};
    use crate::history::LeaseId;

    #[test]
    fn stamps_are_unique_and_ordered_across_threads() {
        let recorder = Recorder::default();
        std::thread::scope(|scope| {
            for client in 0..8 {
                let recorder = recorder.clone();
                scope.spawn(move || {
                    for _ in 0..100 {
                        let id = recorder.begin(client, Op::LeaseRevoke { lease: LeaseId(1) });
                        recorder.finish(id, Outcome::Fail("no".into()));
                    }
                });
            }
        });
        let history = recorder.history();
        assert_eq!(history.len(), 800);
        let mut orders: Vec<u64> = history
            .iter()
            .flat_map(|operation| [operation.invoke, operation.complete.expect("finished")])
            .map(|stamp| stamp.order)
            .collect();
        assert!(history.is_sorted_by_key(|operation| operation.invoke));
        orders.sort_unstable();
        orders.dedup();
        assert_eq!(orders.len(), 1600);
    }

    #[test]
    fn an_unfinished_operation_is_unknown() {
        let recorder = Recorder::default();
        recorder.begin(0, Op::LeaseRevoke { lease: LeaseId(1) });
        assert!(recorder.history()[0].is_unknown());
    }
}
