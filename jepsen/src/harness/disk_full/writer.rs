//! The client that fills the disk.

use std::collections::BTreeMap;

use super::PATIENCE;
use crate::harness::connection::Connection;
use crate::history::{Answer, Blob, Delete, KeyRange, LeaseId, Op, Outcome, Put, Range, Revision};

/// Failed writes in a row after which the disk counts as full.
const FAILURES: usize = 5;

pub(super) const VALUE_BYTES: usize = 64 << 10;

/// Writes keys once each and remembers which were acknowledged.
pub(super) struct Writer {
    next: usize,
    pub(super) acknowledged: BTreeMap<String, Revision>,
    /// Of the last deletion.
    deleted: Revision,
    pub(super) errors: Vec<String>,
    pub(super) lost: Vec<String>,
}

impl Writer {
    pub(super) fn new() -> Self {
        let (errors, lost) = (Vec::new(), Vec::new());
        let acknowledged = BTreeMap::new();
        Self { next: 0, acknowledged, deleted: Revision::EMPTY_STORE, errors, lost }
    }

    /// Writes up to `count` keys, fewer if the disk turns out to be full.
    pub(super) async fn write(&mut self, connection: &mut Connection, count: usize) {
        let mut failures = 0;
        for _ in 0..count {
            let key = format!("{:05}", self.next);
            self.next += 1;
            match self.put(connection, &key).await {
                Outcome::Ok(_) => failures = 0,
                Outcome::Fail(why) | Outcome::Unknown(why) => {
                    failures += 1;
                    self.note(why);
                }
            }
            if failures == FAILURES {
                return;
            }
        }
    }

    pub(super) async fn put(&mut self, connection: &mut Connection, key: &str) -> Outcome {
        let put = Put { value: value(key), key: key.into(), lease: LeaseId::NONE, prev_kv: false };
        let outcome = connection.call(&Op::Put(put), PATIENCE).await;
        if let Outcome::Ok(response) = &outcome {
            self.acknowledged.insert(key.to_owned(), response.revision);
        }
        outcome
    }

    /// Deletes up to `count` of the newest keys until one fails; how many.
    pub(super) async fn delete(&mut self, connection: &mut Connection, count: usize) -> usize {
        let mut keys: Vec<String> = self.acknowledged.keys().cloned().collect();
        // The first one is read again and again.
        keys.drain(..1);
        for (deleted, key) in keys.into_iter().rev().take(count).enumerate() {
            let range = KeyRange::single(key.as_str());
            match connection.call(&Op::Delete(Delete { range, prev_kv: false }), PATIENCE).await {
                Outcome::Ok(response) => {
                    self.acknowledged.remove(&key);
                    self.deleted = response.revision;
                }
                Outcome::Fail(why) | Outcome::Unknown(why) => {
                    // It may be deleted or not.
                    self.acknowledged.remove(&key);
                    self.note(why);
                    return deleted;
                }
            }
        }
        count
    }

    pub(super) fn last_revision(&self) -> Revision {
        self.acknowledged.values().copied().fold(self.deleted, Ord::max)
    }

    fn note(&mut self, why: String) {
        if !self.errors.contains(&why) {
            self.errors.push(why);
        }
    }

    pub(super) async fn read(
        &self,
        connection: &mut Connection,
        key: &str,
    ) -> Result<Answer, String> {
        let range = KeyRange::single(key);
        let range = Range { range, revision: None, serializable: false };
        match connection.call(&Op::Range(range), PATIENCE).await {
            Outcome::Ok(response) => Ok(response.answer),
            Outcome::Fail(why) | Outcome::Unknown(why) => Err(why),
        }
    }

    pub(super) async fn verify(&mut self, connection: &mut Connection) {
        for (key, revision) in &self.acknowledged {
            let found = self.read(connection, key).await;
            let intact = matches!(&found, Ok(Answer::Range { kvs, .. }) if kvs.len() == 1
                && kvs[0].value == value(key) && kvs[0].mod_revision == *revision);
            if !intact {
                let text: String = format!("{found:?}").chars().take(200).collect();
                self.lost.push(format!("{key}, acknowledged at {revision}, is now {text}"));
            }
        }
    }
}

/// Does not compress: a linear congruential sequence started from the key.
fn value(key: &str) -> Blob {
    let mut state = key.bytes().fold(1_u64, |state, byte| state * 31 + u64::from(byte));
    let bytes = (0..VALUE_BYTES).map(|_| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    });
    Blob::from(bytes.collect::<bytes::Bytes>())
}
