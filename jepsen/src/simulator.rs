//! Histories that are right by construction.
//!
//! A sequential store executes one operation at a time at a seeded moment between its call and
//! its return, so any history it yields is linearizable; watches are served from its own events.
//! Checkers must accept these and refuse them with one fault planted.

use crate::history::{
    Answer, Blob, Compare, Delete, Event, Expected, KeyRange, KeyValue, LeaseId, Op, OpId,
    Operation, Outcome, Put, Range, Recorder, Relation, Response, Revision, Step, Txn,
};
use crate::persisted::PersistedLog;
use crate::store::Store;
use crate::watch::{Filter, WatchRecord, WatchResponse, WatchSession, WatchSpec};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// How large and how rough a simulated run is.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Seed of every choice.
    pub seed: u64,
    /// Concurrent clients.
    pub clients: u32,
    /// Operations begun.
    pub operations: usize,
    /// Keys they share.
    pub keys: u32,
    /// Of 100 operations, how many lose their answer.
    pub lost_answers: u32,
    /// Operations that touch several keys.
    pub multi_key: bool,
    /// Watches.
    pub watches: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            seed: 0,
            clients: 5,
            operations: 200,
            keys: 3,
            lost_answers: 10,
            multi_key: true,
            watches: 4,
        }
    }
}

/// All that a run leaves behind.
#[derive(Clone, Debug)]
pub struct Run {
    /// What clients did.
    pub history: Vec<Operation>,
    /// What watchers were sent.
    pub watches: Vec<WatchSession>,
    /// What the store persisted.
    pub log: PersistedLog,
    /// What it holds at the end.
    pub final_keys: Vec<KeyValue>,
}

/// Runs a simulation.
pub fn run(shape: Shape) -> Run {
    Simulation::new(shape).run()
}

/// Where a client's call stands.
enum Slot {
    Idle,
    /// Called; takes effect at some later moment, unless its fate is never to.
    Called(OpId, Op, Fate),
    /// Has taken effect; returns at some later moment.
    Done(OpId, Response),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    /// The answer is lost; the effect comes at any later time, even when the client has moved on.
    Lost,
    /// Neither effect nor answer.
    Dropped,
}

struct Simulation {
    shape: Shape,
    random: StdRng,
    recorder: Recorder,
    store: Store,
    log: PersistedLog,
    slots: Vec<Slot>,
    /// Effects on their way after their client gave up.
    adrift: Vec<Op>,
    watchers: Vec<Watcher>,
    begun: u64,
}

struct Watcher {
    session: WatchSession,
    next: Revision,
}

impl Simulation {
    fn new(shape: Shape) -> Self {
        Self {
            random: StdRng::seed_from_u64(shape.seed),
            recorder: Recorder::default(),
            store: Store::default(),
            log: PersistedLog::default(),
            slots: (0..shape.clients).map(|_| Slot::Idle).collect(),
            adrift: Vec::new(),
            watchers: Vec::new(),
            begun: 0,
            shape,
        }
    }

    fn run(mut self) -> Run {
        let budget = self.shape.operations as u64;
        while self.begun < budget || self.slots.iter().any(|slot| !matches!(slot, Slot::Idle)) {
            match self.random.random_range(0..10) {
                0 if self.watchers.len() < self.shape.watches => self.open_watch(),
                1 | 2 => self.serve_watch(),
                3 if !self.adrift.is_empty() => {
                    let op =
                        self.adrift.swap_remove(self.random.random_range(0..self.adrift.len()));
                    self.execute(&op);
                }
                _ => {
                    let client = self.random.random_range(0..self.shape.clients);
                    self.advance(client, self.begun < budget);
                }
            }
        }
        // What no write follows could be missing from the log's end without anyone knowing.
        let last = Op::Put(Put {
            key: "last".into(),
            value: "last".into(),
            lease: LeaseId::NONE,
            prev_kv: false,
        });
        let id = self.recorder.begin(0, last.clone());
        let response = self.execute(&last);
        self.recorder.finish(id, Outcome::Ok(response));
        for index in 0..self.watchers.len() {
            self.catch_up(index, usize::MAX);
            self.progress(index);
        }
        Run {
            history: self.recorder.history(),
            watches: self.watchers.into_iter().map(|watcher| watcher.session).collect(),
            log: self.log,
            final_keys: self.store.range(&KeyRange::all()),
        }
    }

    fn advance(&mut self, client: u32, may_begin: bool) {
        let slot = std::mem::replace(&mut self.slots[client as usize], Slot::Idle);
        self.slots[client as usize] = match slot {
            Slot::Idle if may_begin => {
                let op = self.draw_op();
                let fate = self.draw_fate(&op);
                self.begun += 1;
                Slot::Called(self.recorder.begin(client, op.clone()), op, fate)
            }
            Slot::Idle => Slot::Idle,
            Slot::Called(id, op, Fate::Answered) => Slot::Done(id, self.execute(&op)),
            Slot::Called(id, op, fate) => {
                self.recorder.finish(id, Outcome::Unknown("answer lost".into()));
                self.adrift.extend((fate == Fate::Lost).then_some(op));
                Slot::Idle
            }
            Slot::Done(id, response) => {
                self.recorder.finish(id, Outcome::Ok(response));
                Slot::Idle
            }
        };
    }

    fn execute(&mut self, op: &Op) -> Response {
        let applied = self.store.apply(op);
        let mut response = applied.response;
        if let (Op::Range(Range { range, revision: Some(at), .. }), Answer::Range { .. }) =
            (op, &response.answer)
        {
            let kvs = crate::persisted::Replay::new(&self.log).range_at(range, *at);
            let count = i64::try_from(kvs.len()).expect("few keys");
            response.answer = Answer::Range { kvs, count };
        }
        for event in applied.events {
            self.log.push(event);
        }
        self.store = applied.store;
        response
    }

    fn draw_fate(&mut self, op: &Op) -> Fate {
        // A read of a past revision must not be executed before that revision exists.
        if op.is_replayed_read() || self.random.random_range(0..100) >= self.shape.lost_answers {
            return Fate::Answered;
        }
        if self.random.random_bool(0.5) { Fate::Lost } else { Fate::Dropped }
    }

    fn key(&mut self) -> Blob {
        format!("k{}", self.random.random_range(0..self.shape.keys)).into()
    }

    fn put(&mut self, suffix: &str) -> Put {
        let leased = self.random.random_bool(0.1);
        let lease = if leased { LeaseId(self.random.random_range(1..4)) } else { LeaseId::NONE };
        Put {
            key: self.key(),
            value: format!("v{}{suffix}", self.begun).into(),
            lease,
            prev_kv: self.random.random_bool(0.3),
        }
    }

    fn draw_op(&mut self) -> Op {
        match self.random.random_range(0..if self.shape.multi_key { 16 } else { 12 }) {
            0..=4 => Op::Put(self.put("")),
            5..=7 => {
                let range = KeyRange::single(self.key());
                let past = self.random.random_range(1..=self.store.revision().0);
                let historical = self.random.random_bool(0.1);
                let revision = historical.then_some(Revision(past));
                Op::Range(Range { range, revision, serializable: self.random.random_bool(0.1) })
            }
            8 | 9 => {
                let range = KeyRange::single(self.key());
                Op::Delete(Delete { range, prev_kv: self.random.random_bool(0.5) })
            }
            10 | 11 => Op::Txn(self.compare_and_put()),
            12 => Op::Range(Range {
                range: KeyRange::between("k", "l"),
                revision: None,
                serializable: false,
            }),
            13 => Op::LeaseRevoke { lease: LeaseId(self.random.random_range(1..4)) },
            _ => Op::Txn(self.multi_key_txn()),
        }
    }

    fn compare_and_put(&mut self) -> Txn {
        let put = Put { lease: LeaseId::NONE, ..self.put("") };
        let seen = self.store.get(&put.key).cloned().unwrap_or_default();
        let expected = match self.random.random_range(0..4) {
            0 => Expected::ModRevision(seen.mod_revision),
            1 => Expected::CreateRevision(seen.create_revision),
            2 => Expected::Version(seen.version),
            _ => Expected::Value(seen.value),
        };
        let range = KeyRange::single(put.key.clone());
        Txn {
            compares: vec![Compare { key: put.key.clone(), expected, relation: Relation::Equal }],
            success: vec![Step::Put(put)],
            failure: vec![Step::Range(Range { range, revision: None, serializable: false })],
        }
    }

    fn multi_key_txn(&mut self) -> Txn {
        let compare = Compare {
            key: self.key(),
            expected: Expected::Version(self.random.random_range(0..3)),
            relation: Relation::Greater,
        };
        let (first, mut second) = (self.put("a"), self.put("b"));
        second.key = format!("{}'", first.key).into();
        let range = KeyRange::single(second.key.clone());
        Txn {
            compares: vec![compare],
            success: vec![Step::Put(first), Step::Put(second)],
            failure: vec![Step::Delete(Delete { range, prev_kv: false })],
        }
    }

    fn open_watch(&mut self) {
        let mut spec = WatchSpec::new(match self.random.random_range(0..3) {
            0 => KeyRange::single(self.key()),
            1 => KeyRange::between("k", "k1"),
            _ => KeyRange::all(),
        });
        spec.prev_kv = self.random.random_bool(0.5);
        spec.fragment = self.random.random_bool(0.3);
        spec.filters.extend(match self.random.random_range(0..6) {
            0 => Some(Filter::NoPut),
            1 => Some(Filter::NoDelete),
            _ => None,
        });
        let past = Revision(self.random.random_range(1..=self.store.revision().0));
        spec.start = self.random.random_bool(0.5).then_some(past);
        let next = spec.start.unwrap_or(self.store.revision().next());
        let id = self.watchers.len() as u64;
        let session = WatchSession { id, spec, records: Vec::new() };
        self.watchers.push(Watcher { session, next });
        self.send(self.watchers.len() - 1, WatchResponse::Created);
    }

    fn serve_watch(&mut self) {
        if self.watchers.is_empty() {
            return;
        }
        let index = self.random.random_range(0..self.watchers.len());
        let revisions = self.random.random_range(1..6);
        self.catch_up(index, revisions);
        if self.watchers[index].next > self.store.revision() && self.random.random_bool(0.3) {
            self.progress(index);
        }
    }

    fn progress(&mut self, index: usize) {
        self.send(index, WatchResponse::Progress);
    }

    /// Sends the events of the next few revisions in one response.
    fn catch_up(&mut self, index: usize, revisions: usize) {
        let Watcher { session, next } = &self.watchers[index];
        let last = self.store.revision();
        let until =
            i64::try_from(revisions).map_or(last.0, |count| (next.0 + count - 1).min(last.0));
        let events: Vec<Event> = (next.0..=until)
            .flat_map(|revision| self.log.at(Revision(revision)))
            .filter(|event| session.spec.wants(event))
            .map(|event| if session.spec.prev_kv { event.clone() } else { event.without_prev() })
            .collect();
        let fragment = session.spec.fragment;
        self.watchers[index].next = Revision(until + 1).max(self.watchers[index].next);
        if events.len() > 1 && fragment {
            let (head, tail) = events.split_at(events.len() / 2);
            self.send(index, WatchResponse::Events { events: head.to_vec(), fragment: true });
            self.send(index, WatchResponse::Events { events: tail.to_vec(), fragment: false });
        } else if !events.is_empty() {
            self.send(index, WatchResponse::Events { events, fragment: false });
        }
    }

    fn send(&mut self, index: usize, response: WatchResponse) {
        let record = WatchRecord {
            received: self.recorder.stamp(),
            revision: self.store.revision(),
            response,
        };
        self.watchers[index].session.records.push(record);
    }
}
