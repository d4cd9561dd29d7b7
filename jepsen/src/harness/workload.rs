//! Clients that write and read.

use super::connection::Connection;
use super::gate::Entrance;
use crate::history::{
    Answer, Blob, Compare, Delete, Expected, KeyRange, KeyValue, LeaseId, Op, Outcome, Put, Range,
    Recorder, Relation, Response, Revision, Step, Txn,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::sleep;

/// How long a client waits for an answer before it counts it as lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// Keys of a client that only its leased puts write: the busy keys are overwritten long before a
/// lease expires, and an expiry that deletes nothing shows nothing.
const LEASED_KEYS: u64 = 10;

/// What every client does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Keys all clients share; few, so that they collide.
    pub(crate) keys: u32,
    /// Longest pause between two operations of a client.
    pub(crate) pause: Duration,
    /// Whether to grant leases and attach keys to them.
    pub(crate) leases: bool,
}

/// One client and what it has learned.
pub(crate) struct Client {
    id: u32,
    load: Load,
    random: StdRng,
    recorder: Recorder,
    seen: BTreeMap<Blob, KeyValue>,
    newest: Revision,
    lease: Option<LeaseId>,
    counter: u64,
}

impl Client {
    pub(crate) fn new(id: u32, load: Load, seed: u64, recorder: Recorder) -> Self {
        Self {
            id,
            load,
            random: StdRng::seed_from_u64(seed ^ (u64::from(id) << 32)),
            recorder,
            seen: BTreeMap::new(),
            newest: Revision::EMPTY_STORE,
            lease: None,
            counter: 0,
        }
    }

    /// Works while the server is up, with a new connection after each failure, until the run ends.
    pub(super) async fn run(mut self, endpoint: String, mut entrance: Entrance) {
        while let Some(epoch) = entrance.open().await {
            let mut connection = Connection::lazy(&endpoint);
            while entrance.is_open(epoch) {
                let pause = self.random.random_range(Duration::ZERO..=self.load.pause);
                sleep(pause).await;
                let op = if self.load.leases && self.random.random_ratio(1, 40) {
                    self.new_lease(&mut connection).await;
                    Op::Put(self.leased_put())
                } else {
                    self.draw()
                };
                let id = self.recorder.begin(self.id, op.clone());
                let outcome = connection.call(&op, PATIENCE).await;
                let lost = matches!(outcome, Outcome::Unknown(_));
                if let Outcome::Ok(response) = &outcome {
                    self.learn(&op, response);
                }
                self.recorder.finish(id, outcome);
                if lost {
                    entrance.closed(epoch).await;
                    break;
                }
            }
        }
    }

    /// The expiry of a lease is an operation nobody gets an answer to, possible from the grant on.
    async fn new_lease(&mut self, connection: &mut Connection) {
        self.counter += 1;
        let number = i64::from(self.id + 1) * 1_000_000 + i64::try_from(self.counter).expect("few");
        let lease = LeaseId(number);
        self.recorder.begin(self.id, Op::LeaseRevoke { lease });
        self.lease = connection.grant(lease, 2).await.is_ok().then_some(lease);
    }

    fn key(&mut self) -> Blob {
        format!("key{}", self.random.random_range(0..self.load.keys)).into()
    }

    fn put(&mut self) -> Put {
        self.counter += 1;
        let lease = self.lease.filter(|_| self.random.random_ratio(1, 3));
        // A long value now and then, so that records cross block borders.
        let padding = if self.random.random_ratio(1, 30) { 9_000 } else { 0 };
        Put {
            key: self.key(),
            value: format!("{}.{}{}", self.id, self.counter, "-".repeat(padding)).into(),
            lease: lease.unwrap_or_default(),
            prev_kv: self.random.random_ratio(1, 4),
        }
    }

    fn leased_put(&mut self) -> Put {
        let lease = self.lease.unwrap_or_default();
        let key = format!("leased{}.{}", self.id, self.counter % LEASED_KEYS).into();
        Put { key, lease, ..self.put() }
    }

    pub(crate) fn draw(&mut self) -> Op {
        match self.random.random_range(0..100) {
            0..35 => Op::Put(self.put()),
            35..55 => Op::Range(self.read(KeyRange::single)),
            55..60 => Op::Range(self.read(|_| KeyRange::between("key", "kez"))),
            60..70 => {
                let range = KeyRange::single(self.key());
                Op::Delete(Delete { range, prev_kv: self.random.random_ratio(1, 3) })
            }
            70..72 => {
                let (from, to) = (self.key(), self.key());
                let range = KeyRange { key: from.clone().min(to.clone()), end: from.max(to) };
                let single = range.key == range.end;
                let range = if single { KeyRange::single(range.key) } else { range };
                Op::Delete(Delete { range, prev_kv: false })
            }
            72..90 => Op::Txn(self.compare_and_put()),
            90..98 => Op::Txn(self.multi_key_txn()),
            _ => match self.lease.take() {
                Some(lease) => Op::LeaseRevoke { lease },
                None => Op::Put(self.put()),
            },
        }
    }

    fn read(&mut self, range: impl Fn(Blob) -> KeyRange) -> Range {
        let range = range(self.key());
        let past = (self.newest.0 - self.random.random_range(0..20)).max(2);
        let historical = self.newest > Revision(2) && self.random.random_ratio(1, 10);
        let revision = historical.then_some(Revision(past));
        Range { range, revision, serializable: self.random.random_ratio(1, 5) }
    }

    /// On what the client saw last, which another client may have overtaken.
    fn compare_and_put(&mut self) -> Txn {
        let put = self.put();
        let seen = self.seen.get(&put.key).cloned().unwrap_or_default();
        let expected = match self.random.random_range(0..4) {
            0 | 1 => Expected::ModRevision(seen.mod_revision),
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

    /// Two keys change together or not at all; now and then one is written and one deleted.
    fn multi_key_txn(&mut self) -> Txn {
        let (first, mut second) = (self.put(), self.put());
        while second.key == first.key {
            second.key = self.key();
        }
        let version = self.random.random_range(0..4);
        let compare = Compare {
            key: first.key.clone(),
            expected: Expected::Version(version),
            relation: if version == 0 { Relation::Equal } else { Relation::Greater },
        };
        let range = KeyRange::single(second.key.clone());
        let delete = Step::Delete(Delete { range, prev_kv: false });
        let other = if self.random.random_bool(0.5) { Step::Put(second) } else { delete.clone() };
        let all = KeyRange::between("key", "kez");
        let read = Step::Range(Range { range: all, revision: None, serializable: false });
        Txn {
            compares: vec![compare],
            success: vec![Step::Put(first), other, read],
            failure: vec![delete],
        }
    }

    pub(crate) fn learn(&mut self, op: &Op, response: &Response) {
        self.newest = self.newest.max(response.revision);
        match (op, &response.answer) {
            (Op::Range(range), Answer::Range { kvs, .. }) => {
                if kvs.is_empty() && range.range.is_single() {
                    self.seen.remove(&range.range.key);
                }
                for kv in kvs {
                    self.seen.insert(kv.key.clone(), kv.clone());
                }
            }
            (Op::Put(put), _) => {
                // The version is not told; a guess makes some compares fail, which is as well.
                let kv = KeyValue {
                    key: put.key.clone(),
                    value: put.value.clone(),
                    mod_revision: response.revision,
                    version: 1,
                    ..KeyValue::default()
                };
                self.seen.insert(put.key.clone(), kv);
            }
            (Op::Txn(_), Answer::Txn { answers, .. }) => {
                let read = answers.iter().filter_map(|answer| match answer {
                    Answer::Range { kvs, .. } => Some(kvs),
                    Answer::Put { .. }
                    | Answer::Delete { .. }
                    | Answer::Txn { .. }
                    | Answer::LeaseRevoke => None,
                });
                for kv in read.flatten() {
                    self.seen.insert(kv.key.clone(), kv.clone());
                }
            }
            (Op::Delete(delete), _) => {
                self.seen.retain(|key, _| !delete.range.contains(key));
            }
            (Op::Range(_) | Op::Txn(_) | Op::LeaseRevoke { .. }, _) => {}
        }
    }
}
