//! The same entry does the same on every member, in every life.

use std::collections::BTreeMap;

use vetch_storage::{Applied, LogId, Revision};

use crate::history::{Blob, Event, EventKind, KeyValue, LeaseId};
use crate::persisted::PersistedLog;

/// What was applied first at a position.
#[derive(Clone, Copy, Debug)]
struct Fact {
    term: u64,
    hash: u64,
    by: u64,
    /// The newest leader's term known when it was first applied: whoever leads later has the entry.
    seen: u64,
    revision: Revision,
}

#[derive(Default)]
pub(super) struct Applies {
    /// By the state machine's position.
    facts: BTreeMap<u64, Fact>,
    digests: BTreeMap<u64, (u64, Revision, u64)>,
    pub(super) history: PersistedLog,
}

impl Applies {
    /// Term of the entry committed at an index in the consensus library's counting, and the newest
    /// leader's term by then.
    pub(super) fn committed(&self, index: u64) -> Option<(u64, u64)> {
        self.facts.get(&(index + 1)).map(|fact| (fact.term, fact.seen))
    }

    pub(super) fn entry(
        &mut self,
        member: u64,
        applied: &Applied,
        hash: u64,
        seen: u64,
    ) -> Option<String> {
        let LogId { term, index } = applied.id;
        if let Some(fact) = self.facts.get(&index.0) {
            return (fact.hash != hash || fact.term != term.0).then(|| {
                format!(
                    "entry {index} is of term {} on member {} and of term {term} on member \
                     {member}, or did something else there: {applied:?}",
                    fact.term, fact.by
                )
            });
        }
        let revision = applied.revision;
        self.facts.insert(index.0, Fact { term: term.0, hash, by: member, seen, revision });
        for batch in &applied.events {
            for event in &batch.events {
                self.history.push(told(event));
            }
        }
        let before = index.0.checked_sub(1).and_then(|before| self.facts.get(&before))?;
        let due = before.revision.0 + i64::try_from(applied.events.len()).unwrap_or(i64::MAX);
        (revision.0 != due).then(|| {
            format!("entry {index} takes the revision from {} to {revision}", before.revision)
        })
    }

    pub(super) fn state(
        &mut self,
        member: u64,
        at: LogId,
        digest: u64,
        revision: Revision,
    ) -> Option<String> {
        let first = *self.digests.entry(at.index.0).or_insert((digest, revision, member));
        ((first.0, first.1) != (digest, revision)).then(|| {
            format!(
                "at {} member {} has digest {:x} and revision {}, member {member} has {digest:x} \
                 and {revision}",
                at.index, first.2, first.0, first.1
            )
        })
    }
}

fn told(event: &vetch_storage::Event) -> Event {
    let kind = match event.kind {
        vetch_storage::EventKind::Put => EventKind::Put,
        vetch_storage::EventKind::Delete => EventKind::Delete,
    };
    let kv = &event.kv;
    let kv = KeyValue {
        key: Blob::from(kv.key.clone()),
        value: Blob::from(kv.value.clone()),
        create_revision: crate::history::Revision(kv.create_revision),
        mod_revision: crate::history::Revision(kv.mod_revision),
        version: kv.version,
        lease: LeaseId(kv.lease),
    };
    Event { kind, kv, prev: None }
}
