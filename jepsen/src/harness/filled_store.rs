//! A store of known content, every bit of which can be asked for again.

use super::collect::collect;
use super::connection::Connection;
use super::error::HarnessError;
use super::watchers::Sessions;
use crate::history::{
    Answer, Blob, Delete, Event, KeyRange, KeyValue, LeaseId, Op, Outcome, Put, Range, Recorder,
    Response, Revision, Step, Txn,
};
use crate::persisted::PersistedLog;
use crate::store::Store;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// What was written, and what the server answers about it while it is known to be well.
#[derive(Clone, Debug)]
pub struct FilledStore {
    log: PersistedLog,
    /// Keys at some revisions, the newest included.
    states: Vec<(Revision, Vec<KeyValue>)>,
    /// `HashKV` at those revisions.
    hashes: Vec<(Revision, u32)>,
}

impl FilledStore {
    /// Writes `writes` operations into an empty store and remembers everything about it.
    pub async fn fill(
        connection: &mut Connection,
        seed: u64,
        writes: usize,
    ) -> Result<Self, HarnessError> {
        let mut random = StdRng::seed_from_u64(seed);
        let (mut store, mut log) = (Store::default(), PersistedLog::default());
        let mut states = Vec::new();
        for number in 0..writes {
            let op = draw(&mut random, number, number + 1 == writes);
            let applied = store.apply(&op);
            let response = succeed(connection, &op).await?;
            if response != applied.response {
                let what = format!("{op:?} was answered {response:?}, not {:?}", applied.response);
                return Err(HarnessError::refused(what)(tonic::Status::data_loss("wrong answer")));
            }
            applied.events.iter().for_each(|event| log.push(event.without_prev()));
            store = applied.store;
            if number % (writes / 12).max(1) == 0 || number + 1 == writes {
                states.push((store.revision(), store.range(&KeyRange::all())));
            }
        }
        let mut hashes = Vec::new();
        for (revision, _) in &states {
            let refused = HarnessError::refused(format!("hash at {revision}"));
            hashes.push((*revision, connection.hash_kv(*revision).await.map_err(refused)?));
        }
        let filled = Self { log, states, hashes };
        filled.verify(connection).await.map(|()| filled)
    }

    /// Asks for every key, past states, hashes and the watch from the past. An error says what
    /// was wrong or missing.
    pub async fn verify(&self, connection: &mut Connection) -> Result<(), HarnessError> {
        for (revision, keys) in &self.states {
            let range =
                Range { range: KeyRange::all(), revision: Some(*revision), serializable: false };
            let response = succeed(connection, &Op::Range(range)).await?;
            let Answer::Range { kvs, count } = response.answer else { unreachable!("a read") };
            if kvs != *keys || usize::try_from(count) != Ok(keys.len()) {
                return Err(wrong(&format!("the keys at {revision} are {}", differ(&kvs, keys))));
            }
        }
        for kv in self.states.last().into_iter().flat_map(|(_, keys)| keys) {
            let range = KeyRange::single(kv.key.clone());
            let range = Range { range, revision: None, serializable: false };
            let response = succeed(connection, &Op::Range(range)).await?;
            let due = Answer::Range { kvs: vec![kv.clone()], count: 1 };
            if response.answer != due {
                return Err(wrong(&format!("{:?} where {due:?} is due", response.answer)));
            }
        }
        for (revision, hash) in &self.hashes {
            let refused = HarnessError::refused(format!("hash at {revision}"));
            let found = connection.hash_kv(*revision).await.map_err(refused)?;
            if found != *hash {
                return Err(wrong(&format!("the hash at {revision} is {found}, not {hash}")));
            }
        }
        self.verify_watch(connection).await
    }

    /// A key that is live at the end.
    pub fn last_key(&self) -> Option<Blob> {
        self.states.last()?.1.last().map(|kv| kv.key.clone())
    }

    async fn verify_watch(&self, connection: &Connection) -> Result<(), HarnessError> {
        let (recorder, sessions) = (Recorder::default(), Sessions::default());
        let from = Revision::EMPTY_STORE.next();
        let events = collect(connection, from, self.log.last(), &recorder, &sessions).await?;
        let due: Vec<Event> = self.log.events().cloned().collect();
        if events != due {
            let first = events.iter().zip(&due).find(|(found, due)| found != due);
            let what = format!("{} events for {}, first: {first:?}", events.len(), due.len());
            return Err(wrong(&format!("the watch from the past told {what}")));
        }
        let violations = crate::watch::check(&sessions.all(), &self.log);
        match violations.first() {
            None => Ok(()),
            Some(violation) => Err(wrong(&violation.to_string())),
        }
    }
}

/// Values are long; what was wrong shows at their beginning.
fn wrong(what: &str) -> HarnessError {
    let what: String = what.chars().take(600).collect();
    HarnessError::refused(what)(tonic::Status::data_loss("wrong data served"))
}

fn differ(found: &[KeyValue], due: &[KeyValue]) -> String {
    let first = found.iter().zip(due).find(|(found, due)| found != due);
    format!("{} for {}, the first difference is {first:?}", found.len(), due.len())
}

async fn succeed(connection: &mut Connection, op: &Op) -> Result<Response, HarnessError> {
    match connection.call(op, PATIENCE).await {
        Outcome::Ok(response) => Ok(response),
        Outcome::Fail(why) | Outcome::Unknown(why) => {
            let text: String = format!("{op:?}").chars().take(200).collect();
            Err(HarnessError::refused(text)(tonic::Status::unknown(why)))
        }
    }
}

/// Values of all sizes, so that every block of every file holds some of them; the last write is
/// one whose event shows that the watch is complete.
fn draw(random: &mut StdRng, number: usize, last: bool) -> Op {
    let key = |random: &mut StdRng| format!("fill/{:04}", random.random_range(0..400)).into();
    let put = |random: &mut StdRng, part: &str| {
        let length =
            [16, 300, 2_000, 20_000][random.random_range(0..4) * random.random_range(0..2)];
        let noise: String =
            (0..length).map(|_| char::from(random.random_range(b'a'..=b'z'))).collect();
        let value = format!("{number}{part}.{noise}").into();
        Put { key: key(random), value, lease: LeaseId::NONE, prev_kv: false }
    };
    match random.random_range(0..10) {
        0 if !last => Op::Delete(Delete { range: KeyRange::single(key(random)), prev_kv: false }),
        1 => {
            let (first, mut second) = (put(random, "a"), put(random, "b"));
            second.key = format!("{}+", first.key).into();
            let success = vec![Step::Put(first), Step::Put(second)];
            Op::Txn(Txn { compares: Vec::new(), success, failure: Vec::new() })
        }
        _ => Op::Put(put(random, "")),
    }
}
