//! The sequential specification: what a store does with one operation at a time.
//!
//! Small enough to be read against the protocol's text. Checkers, the simulator and the replay of
//! persisted events all rest on it.

use crate::history::{
    Answer, Blob, Compare, Delete, Event, EventKind, Expected, KeyRange, KeyValue, LeaseId, Op,
    Put, Range, Relation, Response, Revision, Step, Txn,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A store between two operations. Cheap to clone: states share what no write has touched since.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Store {
    revision: Revision,
    keys: Arc<BTreeMap<Blob, KeyValue>>,
}

impl Default for Store {
    fn default() -> Self {
        Self { revision: Revision::EMPTY_STORE, keys: Arc::default() }
    }
}

/// What an operation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The store afterwards.
    pub store: Store,
    /// What the client is told.
    pub response: Response,
    /// What watchers are told: the changes in execution order, each with the key before the
    /// operation. Empty if and only if the revision did not move.
    pub events: Vec<Event>,
}

impl Store {
    /// A store that holds `keys` at `revision`.
    pub fn new(revision: Revision, keys: impl IntoIterator<Item = KeyValue>) -> Self {
        let keys = keys.into_iter().map(|kv| (kv.key.clone(), kv)).collect();
        Self { revision, keys: Arc::new(keys) }
    }

    /// The revision of the last change.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The live key.
    pub fn get(&self, key: &Blob) -> Option<&KeyValue> {
        self.keys.get(key)
    }

    /// The live keys of a range, in key order.
    pub fn range(&self, range: &KeyRange) -> Vec<KeyValue> {
        if range.is_single() {
            return self.keys.get(&range.key).cloned().into_iter().collect();
        }
        self.keys.values().filter(|kv| range.contains(&kv.key)).cloned().collect()
    }

    /// Executes `op`. A read of a named revision answers with the current keys: only the replay
    /// knows history.
    pub fn apply(&self, op: &Op) -> Applied {
        let mut execution = Execution { before: self, after: self.clone(), events: Vec::new() };
        let answer = match op {
            Op::Put(put) => execution.put(put),
            Op::Range(range) => execution.range(range),
            Op::Delete(delete) => execution.delete(delete),
            Op::Txn(txn) => execution.txn(txn),
            Op::LeaseRevoke { lease } => execution.revoke(*lease),
        };
        let Execution { mut after, events, .. } = execution;
        if !events.is_empty() {
            after.revision = self.revision.next();
        }
        let response = Response { revision: after.revision, answer };
        Applied { store: after, response, events }
    }

    /// True if the condition holds.
    pub fn satisfies(&self, compare: &Compare) -> bool {
        let kv = self.keys.get(&compare.key);
        let ordering = match &compare.expected {
            Expected::ModRevision(revision) => {
                kv.map_or(Revision(0), |kv| kv.mod_revision).cmp(revision)
            }
            Expected::CreateRevision(revision) => {
                kv.map_or(Revision(0), |kv| kv.create_revision).cmp(revision)
            }
            Expected::Version(version) => kv.map_or(0, |kv| kv.version).cmp(version),
            Expected::Value(value) => match kv {
                Some(kv) => kv.value.cmp(value),
                None => return false,
            },
        };
        match compare.relation {
            Relation::Equal => ordering.is_eq(),
            Relation::NotEqual => ordering.is_ne(),
            Relation::Less => ordering.is_lt(),
            Relation::Greater => ordering.is_gt(),
        }
    }

    /// The store after a persisted change; `create_revision` and `version` are computed, not
    /// believed. Returns the key as it must look.
    pub(crate) fn replay(&mut self, event: &Event) -> KeyValue {
        let keys = Arc::make_mut(&mut self.keys);
        let before = keys.get(&event.kv.key);
        let revision = event.kv.mod_revision;
        self.revision = revision;
        match event.kind {
            EventKind::Put => {
                let kv = KeyValue {
                    create_revision: before.map_or(revision, |kv| kv.create_revision),
                    version: before.map_or(1, |kv| kv.version + 1),
                    ..event.kv.clone()
                };
                keys.insert(kv.key.clone(), kv.clone());
                kv
            }
            EventKind::Delete => {
                keys.remove(&event.kv.key);
                tombstone(&event.kv.key, revision)
            }
        }
    }
}

fn tombstone(key: &Blob, mod_revision: Revision) -> KeyValue {
    KeyValue { key: key.clone(), mod_revision, ..KeyValue::default() }
}

/// One operation under way: compares see `before`, steps see `after`.
struct Execution<'a> {
    before: &'a Store,
    after: Store,
    events: Vec<Event>,
}

impl Execution<'_> {
    fn put(&mut self, put: &Put) -> Answer {
        let revision = self.before.revision.next();
        let old = self.after.keys.get(&put.key).cloned();
        let kv = KeyValue {
            key: put.key.clone(),
            value: put.value.clone(),
            create_revision: old.as_ref().map_or(revision, |kv| kv.create_revision),
            mod_revision: revision,
            version: old.as_ref().map_or(1, |kv| kv.version + 1),
            lease: put.lease,
        };
        Arc::make_mut(&mut self.after.keys).insert(put.key.clone(), kv.clone());
        self.emit(EventKind::Put, kv);
        Answer::Put { prev: old.filter(|_| put.prev_kv) }
    }

    fn range(&self, range: &Range) -> Answer {
        let kvs = self.after.range(&range.range);
        let count = count(&kvs);
        Answer::Range { kvs, count }
    }

    fn delete(&mut self, delete: &Delete) -> Answer {
        let gone = self.after.range(&delete.range);
        let deleted = count(&gone);
        self.remove(&gone);
        Answer::Delete { deleted, prev: if delete.prev_kv { gone } else { Vec::new() } }
    }

    fn txn(&mut self, txn: &Txn) -> Answer {
        let succeeded = txn.compares.iter().all(|compare| self.before.satisfies(compare));
        let answers = txn
            .branch(succeeded)
            .iter()
            .map(|step| match step {
                Step::Put(put) => self.put(put),
                Step::Range(range) => self.range(range),
                Step::Delete(delete) => self.delete(delete),
            })
            .collect();
        Answer::Txn { succeeded, answers }
    }

    fn revoke(&mut self, lease: LeaseId) -> Answer {
        let attached: Vec<KeyValue> =
            self.after.keys.values().filter(|kv| kv.lease == lease).cloned().collect();
        self.remove(&attached);
        Answer::LeaseRevoke
    }

    fn remove(&mut self, gone: &[KeyValue]) {
        let revision = self.before.revision.next();
        for kv in gone {
            Arc::make_mut(&mut self.after.keys).remove(&kv.key);
            self.emit(EventKind::Delete, tombstone(&kv.key, revision));
        }
    }

    fn emit(&mut self, kind: EventKind, kv: KeyValue) {
        let prev = self.before.get(&kv.key).cloned();
        self.events.push(Event { kind, kv, prev });
    }
}

fn count(kvs: &[KeyValue]) -> i64 {
    i64::try_from(kvs.len()).expect("fewer than 2^63 keys")
}

#[cfg(test)]
mod tests {
    use super::Store;
    use crate::history::{
        Answer, Blob, Compare, Delete, EventKind, Expected, KeyRange, LeaseId, Op, Put, Relation,
        Revision, Step, Txn,
    };

    fn put(key: &str, value: &str) -> Put {
        Put { key: key.into(), value: value.into(), lease: LeaseId::NONE, prev_kv: true }
    }

    #[test]
    fn a_put_creates_then_overwrites_then_starts_again_after_a_delete() {
        let first = Store::default().apply(&Op::Put(put("a", "1")));
        assert_eq!(first.response.revision, Revision(2));
        let second = first.store.apply(&Op::Put(put("a", "2")));
        let kv = second.store.get(&"a".into()).expect("live");
        assert_eq!(
            (kv.create_revision, kv.mod_revision, kv.version),
            (Revision(2), Revision(3), 2)
        );
        let old = first.store.get(&"a".into()).cloned();
        assert_eq!(second.response.answer, Answer::Put { prev: old.clone() });
        assert_eq!(second.events[0].prev, old);

        let delete = Delete { range: KeyRange::single("a"), prev_kv: false };
        let third = second.store.apply(&Op::Delete(delete.clone()));
        assert_eq!(third.events[0].kind, EventKind::Delete);
        let none = third.store.apply(&Op::Delete(delete));
        assert_eq!(none.response.revision, Revision(4));
        assert!(none.events.is_empty());
        let again = third.store.apply(&Op::Put(put("a", "3")));
        let kv = again.store.get(&"a".into()).expect("live");
        assert_eq!((kv.create_revision, kv.version), (Revision(5), 1));
    }

    #[test]
    fn a_transaction_takes_one_revision_and_compares_before_it_runs() {
        let txn = Txn {
            compares: vec![Compare {
                key: "a".into(),
                expected: Expected::Version(0),
                relation: Relation::Equal,
            }],
            success: vec![Step::Put(put("a", "1")), Step::Put(put("b", "2"))],
            failure: vec![],
        };
        let applied = Store::default().apply(&Op::Txn(txn.clone()));
        assert_eq!(applied.store.revision(), Revision(2));
        assert!(applied.events.iter().all(|event| event.revision() == Revision(2)));
        let refused = applied.store.apply(&Op::Txn(txn));
        assert_eq!(refused.store, applied.store);
    }

    #[test]
    fn a_value_compare_on_an_absent_key_is_false_for_every_relation() {
        for relation in [Relation::Equal, Relation::NotEqual, Relation::Less, Relation::Greater] {
            let expected = Expected::Value(Blob::from("x"));
            let compare = Compare { key: "a".into(), expected, relation };
            assert!(!Store::default().satisfies(&compare));
        }
    }

    #[test]
    fn a_revoke_deletes_its_keys_in_one_revision() {
        let leased = |key: &str| Op::Put(Put { lease: LeaseId(7), ..put(key, "v") });
        let store = Store::default().apply(&leased("b")).store.apply(&leased("a")).store;
        let revoked = store.apply(&Op::LeaseRevoke { lease: LeaseId(7) });
        let keys: Vec<&Blob> = revoked.events.iter().map(|event| &event.kv.key).collect();
        assert_eq!(keys, [&Blob::from("a"), &Blob::from("b")]);
        assert_eq!(revoked.store.revision(), Revision(4));
    }
}
