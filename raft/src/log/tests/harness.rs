//! A log on a simulated disk beside the obvious model of it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::task::noop_waker;
use openraft::RaftLogReader;
use openraft::vote::RaftLeaderId;
use openraft_rt_sim::SimRuntime;
use parking_lot::Mutex;

use crate::disk::DiskError;
use crate::disk::sim::SimDisk;
use crate::log::{LogError, LogOptions, LogStore};
use crate::types::{
    CommittedLeaderId, EncodedProposal, Entry, LeaderId, Payload, RaftLogId, TypeConfig, Vote,
};

/// Small segments, and old entries only on disk.
pub(super) const SMALL: LogOptions =
    LogOptions { segment_bytes: 2048, tail_bytes: 300, read_bytes: 500 };

pub(super) fn id(term: u64, index: u64) -> RaftLogId {
    RaftLogId::new(CommittedLeaderId::new(term), index)
}

/// An entry whose bytes say which one it is; never a run of zeros.
pub(super) fn entry(term: u64, index: u64, len: usize) -> Entry {
    let byte = |at: usize| u8::try_from((at as u64 * 31 + index * 7 + term) % 251).unwrap() + 1;
    let bytes: Bytes = (0..len).map(byte).collect();
    Entry { log_id: id(term, index), payload: Payload::Proposal(EncodedProposal(bytes)) }
}

pub(super) fn vote(term: u64, committed: bool) -> Vote {
    Vote { leader_id: LeaderId::new(term, 1), committed }
}

/// What a log holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Model {
    pub(super) vote: Option<Vote>,
    pub(super) purged: Option<RaftLogId>,
    pub(super) entries: BTreeMap<u64, Entry>,
}

/// One record's worth of change.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Append(Entry),
    Vote(Vote),
    Truncate(Option<RaftLogId>),
    Purge(RaftLogId),
}

impl Model {
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Append(entry) => drop(self.entries.insert(entry.log_id.index, entry.clone())),
            Change::Vote(vote) => self.vote = Some(*vote),
            Change::Truncate(after) => {
                drop(self.entries.split_off(&after.map_or(0, |after| after.index + 1)));
            }
            Change::Purge(upto) => {
                self.entries = self.entries.split_off(&(upto.index + 1));
                self.purged = Some(*upto);
            }
        }
    }

    pub(super) fn last(&self) -> Option<RaftLogId> {
        self.entries.values().next_back().map(|entry| entry.log_id).or(self.purged)
    }

    pub(super) fn next_index(&self) -> u64 {
        self.last().map_or(0, |last| last.index + 1)
    }

    /// What `store` holds, read back through openraft's interface.
    pub(super) fn of(store: &LogStore) -> Self {
        let mut reader = store.clone();
        let read = RaftLogReader::<TypeConfig<SimRuntime>>::try_get_log_entries(&mut reader, ..);
        let entries = futures::executor::block_on(read).unwrap();
        let entries = entries.into_iter().map(|entry| (entry.log_id.index, entry)).collect();
        Self { vote: store.vote(), purged: store.purged(), entries }
    }
}

/// Runs `future` on a manual disk; `None` when the power went out under it.
pub(super) fn drive<T>(disk: &SimDisk, future: impl Future<Output = T>) -> Option<T> {
    let waker = noop_waker();
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(done);
        }
        if !disk.run_queued() || disk.is_dark() {
            return None;
        }
    }
}

pub(super) fn open(disk: &SimDisk) -> Option<Result<LogStore, LogError>> {
    open_with(disk, SMALL)
}

pub(super) fn open_with(disk: &SimDisk, options: LogOptions) -> Option<Result<LogStore, LogError>> {
    drive(disk, LogStore::open(Arc::new(disk.clone()), options))
}

/// A log and its model: every state that the log went through, and how much of it was acknowledged.
#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) disk: SimDisk,
    pub(super) store: LogStore,
    /// `states[n]` is the model after n changes.
    states: Vec<Model>,
    heard: Arc<Mutex<Heard>>,
}

/// What completions said.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Changes known to be durable.
    acknowledged: usize,
    failed: bool,
    acknowledged_after_failure: bool,
}

impl Recorder {
    /// A log that holds `before` now.
    pub(super) fn new(disk: SimDisk, store: LogStore, before: Model) -> Self {
        Self { disk, store, states: vec![before], heard: Arc::default() }
    }

    pub(super) fn now(&self) -> &Model {
        self.states.last().unwrap()
    }

    /// Submits changes of one kind; several appends go as one call. Errors only if the log has failed.
    pub(super) fn submit(&mut self, changes: Vec<Change>) -> Result<(), LogError> {
        let before = self.states.len();
        for change in &changes {
            let mut next = self.now().clone();
            next.apply(change);
            self.states.push(next);
        }
        let result = match &changes[0] {
            Change::Append(_) => {
                let entries = changes.into_iter().filter_map(|change| match change {
                    Change::Append(entry) => Some(entry),
                    Change::Vote(_) | Change::Truncate(_) | Change::Purge(_) => None,
                });
                let (heard, upto) = (Arc::clone(&self.heard), self.states.len() - 1);
                self.store.append_entries(entries, move |result| heard.lock().hear(&result, upto))
            }
            Change::Vote(vote) => {
                // The future is dropped: what counts is that it is written, and a later append's ack covers it.
                drop(self.store.put_vote(*vote));
                if self.store.failure().is_some() { Err(DiskError::Closed.into()) } else { Ok(()) }
            }
            Change::Truncate(after) => self.store.truncate(*after),
            Change::Purge(upto) => self.store.purge_upto(*upto),
        };
        if result.is_err() {
            // Refused: no later state can hold it.
            self.states.truncate(before);
        } else if !self.disk.is_dark() {
            let held = (self.store.vote(), self.store.purged(), self.store.bounds().1);
            let now = self.now();
            assert_eq!(held, (now.vote, now.purged, now.next_index()), "readable when it returns");
        }
        result
    }

    /// Carries out what is queued.
    pub(super) fn run(&self) {
        while self.disk.run_queued() {}
    }

    /// What a recovered log holds must be one of the states, and none before the last acknowledged one.
    pub(super) fn check(&self, recovered: &LogStore) -> Model {
        let found = Model::of(recovered);
        let heard = self.heard.lock();
        assert!(!heard.acknowledged_after_failure, "acknowledged after a failure");
        let matches = self.states[heard.acknowledged..].contains(&found);
        assert!(
            matches,
            "acknowledged {:?}\nsubmitted {:?}\nfound {found:?}",
            self.states[heard.acknowledged],
            self.now(),
        );
        found
    }

    pub(super) fn acknowledged(&self) -> usize {
        self.heard.lock().acknowledged
    }
}

impl Heard {
    fn hear(&mut self, result: &Result<(), LogError>, upto: usize) {
        match result {
            Ok(()) => {
                self.acknowledged_after_failure |= self.failed;
                self.acknowledged = self.acknowledged.max(upto);
            }
            Err(_) => self.failed = true,
        }
    }
}

/// A seeded stream of plausible changes.
#[derive(Debug)]
pub(super) struct Workload(u64);

impl Workload {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    /// The next call's changes on top of `now`.
    pub(super) fn next(&mut self, now: &Model) -> Vec<Change> {
        let term = now.vote.map_or(1, |vote| vote.leader_id.term);
        match self.below(12) {
            0 => vec![Change::Vote(vote(term + self.below(2), self.below(2) == 0))],
            1 if !now.entries.is_empty() => {
                let live: Vec<_> = now.entries.values().map(|entry| entry.log_id).collect();
                let at = usize::try_from(self.below(live.len() as u64 + 1)).unwrap();
                vec![Change::Truncate(at.checked_sub(1).map(|at| live[at]).or(now.purged))]
            }
            2 if !now.entries.is_empty() => {
                let live: Vec<_> = now.entries.values().map(|entry| entry.log_id).collect();
                let at = usize::try_from(self.below(live.len() as u64)).unwrap();
                vec![Change::Purge(live[at])]
            }
            _ => {
                let first = now.next_index();
                let count = 1 + self.below(3);
                let sizes = [0, 7, 100, 450, 600, 1100];
                (first..first + count)
                    .map(|index| {
                        let size = sizes[usize::try_from(self.below(6)).unwrap()];
                        Change::Append(entry(term, index, size))
                    })
                    .collect()
            }
        }
    }
}
