//! Nothing acknowledged is lost, nothing refused is kept, and the revision never goes back.
//!
//! The clients' answers are held against what the store tells once the run is over.

use crate::history::{
    Answer, Event, EventKind, KeyValue, Op, Operation, Outcome, Response, Revision, Stamp, Step,
};
use crate::persisted::{PersistedLog, Replay};
use crate::violation::Violation;
use crate::watch::WatchSession;
use std::collections::BTreeMap;

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// An acknowledged write is not in the store's history at its revision.
    LostWrite,
    /// It is there, but not as acknowledged.
    AlteredWrite,
    /// Two acknowledged writes have the same revision.
    SharedRevision,
    /// An answer carries a lower revision than one that was known before the call was made.
    RevisionWentBack,
    /// The store's history holds a write nobody made, or one that was refused.
    PhantomWrite,
    /// The value of one write is in the store's history twice.
    AppliedTwice,
    /// A revision is missing from the store's history.
    RevisionGap,
    /// The final state is not what the store's own history amounts to.
    StateDiffersFromHistory,
}

/// Checks a run: the clients' history and watches, the store's history, and its final keys.
pub fn check(
    history: &[Operation],
    watches: &[WatchSession],
    log: &PersistedLog,
    final_keys: &[KeyValue],
) -> Vec<Violation<Rule>> {
    let mut violations = acknowledged_writes(history, log);
    violations.extend(revision_order(history, watches));
    violations.extend(explained(history, log));
    violations.extend(gaps(log));
    violations.extend(final_state(log, final_keys));
    violations
}

fn acknowledged_writes(history: &[Operation], log: &PersistedLog) -> Vec<Violation<Rule>> {
    let mut violations = Vec::new();
    let mut taken: BTreeMap<Revision, u64> = BTreeMap::new();
    for operation in history {
        let Some(response) = operation.response() else { continue };
        let changes = Changes::acknowledged(&operation.op, response);
        if changes.is_nothing() {
            continue;
        }
        let (id, revision) = (operation.id, response.revision);
        if let Some(other) = taken.insert(revision, id) {
            let evidence = format!("operations {other} and {id} were both given {revision}");
            violations.push(Violation::new(Rule::SharedRevision, evidence));
        }
        let persisted = log.at(revision);
        if changes.are(persisted) {
            continue;
        }
        let present = persisted.iter().any(|event| changes.touch(event));
        let rule = if present { Rule::AlteredWrite } else { Rule::LostWrite };
        let evidence = format!(
            "operation {id} {:?} was given {revision}; the store has {persisted:?} there",
            operation.op
        );
        violations.push(Violation::new(rule, evidence));
    }
    violations
}

/// What an acknowledgement promises to be in the store's history.
struct Changes<'a>(Vec<Change<'a>>);

enum Change<'a> {
    Put(&'a crate::history::Put),
    /// So many deletes in the range.
    Delete(&'a crate::history::Delete, i64),
}

impl<'a> Changes<'a> {
    fn acknowledged(op: &'a Op, response: &Response) -> Self {
        let step = |step: &'a Step, answer: &Answer| match (step, answer) {
            (Step::Put(put), _) => Some(Change::Put(put)),
            (Step::Delete(delete), Answer::Delete { deleted, .. }) if *deleted > 0 => {
                Some(Change::Delete(delete, *deleted))
            }
            (Step::Delete(_) | Step::Range(_), _) => None,
        };
        Self(match (op, &response.answer) {
            (Op::Put(put), _) => vec![Change::Put(put)],
            (Op::Delete(delete), Answer::Delete { deleted, .. }) if *deleted > 0 => {
                vec![Change::Delete(delete, *deleted)]
            }
            (Op::Txn(txn), Answer::Txn { succeeded, answers }) => {
                let steps = txn.branch(*succeeded).iter().zip(answers);
                steps.filter_map(|(asked, answer)| step(asked, answer)).collect()
            }
            // How many keys a revoke took is not in its answer; the linearizability check knows.
            (Op::Delete(_) | Op::Txn(_) | Op::Range(_) | Op::LeaseRevoke { .. }, _) => Vec::new(),
        })
    }

    fn is_nothing(&self) -> bool {
        self.0.is_empty()
    }

    fn are(&self, persisted: &[Event]) -> bool {
        let mut events = persisted.iter();
        let mut next_is = |change: &Change<'_>| events.next().is_some_and(|event| change.is(event));
        self.0.iter().all(|change| match change {
            Change::Put(_) => next_is(change),
            Change::Delete(_, count) => (0..*count).all(|_| next_is(change)),
        }) && events.next().is_none()
    }

    fn touch(&self, event: &Event) -> bool {
        self.0.iter().any(|change| match change {
            Change::Put(put) => put.key == event.kv.key && put.value == event.kv.value,
            Change::Delete(delete, _) => {
                event.kind == EventKind::Delete && delete.range.contains(&event.kv.key)
            }
        })
    }
}

impl Change<'_> {
    fn is(&self, event: &Event) -> bool {
        match self {
            Self::Put(put) => {
                event.kind == EventKind::Put
                    && (&event.kv.key, &event.kv.value, event.kv.lease)
                        == (&put.key, &put.value, put.lease)
            }
            Self::Delete(delete, _) => {
                event.kind == EventKind::Delete && delete.range.contains(&event.kv.key)
            }
        }
    }
}

/// Reads that may be stale are exempt as answers, but what they saw counts for later ones.
fn revision_order(history: &[Operation], watches: &[WatchSession]) -> Vec<Violation<Rule>> {
    let mut known: Vec<(Stamp, Revision)> = history
        .iter()
        .filter_map(|operation| Some((operation.complete?, operation.response()?.revision)))
        .chain(watches.iter().flat_map(|session| {
            let told = |record: &crate::watch::WatchRecord| (record.received, record.revision);
            session.records.iter().map(told)
        }))
        .collect();
    known.sort_unstable();
    let mut highest = Revision(0);
    for (_, revision) in &mut known {
        highest = highest.max(*revision);
        *revision = highest;
    }
    let known_before = |invoke: Stamp| {
        let later = known.partition_point(|(stamp, _)| *stamp < invoke);
        later.checked_sub(1).map_or(Revision(0), |last| known[last].1)
    };
    history
        .iter()
        .filter(|operation| !operation.op.is_replayed_read())
        .filter_map(|operation| {
            let answered = operation.response()?.revision;
            let due = known_before(operation.invoke);
            (answered < due).then(|| {
                let evidence = format!(
                    "operation {} was answered at {answered}; {due} was known before it was made",
                    operation.id
                );
                Violation::new(Rule::RevisionWentBack, evidence)
            })
        })
        .collect()
}

/// Every persisted put must be one somebody made and was not refused, once.
fn explained(history: &[Operation], log: &PersistedLog) -> Vec<Violation<Rule>> {
    let mut made = BTreeMap::new();
    for operation in history {
        for put in operation.op.puts() {
            let refused = matches!(operation.outcome, Outcome::Fail(_));
            let entry = made.entry((&put.key, &put.value)).or_insert((0_usize, 0_usize));
            entry.0 += usize::from(!refused);
        }
    }
    let mut violations = Vec::new();
    for event in log.events() {
        let revision = event.revision();
        match event.kind {
            EventKind::Put => match made.get_mut(&(&event.kv.key, &event.kv.value)) {
                Some((makers, seen)) if *makers > 0 => {
                    *seen += 1;
                    if seen > makers {
                        let evidence = format!("{event:?} is there {seen} times");
                        violations.push(Violation::new(Rule::AppliedTwice, evidence));
                    }
                }
                Some(_) | None => {
                    let evidence = format!("{event:?}: no client made it, or it was refused");
                    violations.push(Violation::new(Rule::PhantomWrite, evidence));
                }
            },
            EventKind::Delete => {
                let explained = history.iter().any(|operation| {
                    let at = operation.response().map(|response| response.revision);
                    !matches!(operation.outcome, Outcome::Fail(_))
                        && at.is_none_or(|at| at == revision)
                        && operation.op.may_delete(&event.kv.key)
                });
                if !explained {
                    let evidence = format!("{event:?}: no client made it, or it was refused");
                    violations.push(Violation::new(Rule::PhantomWrite, evidence));
                }
            }
        }
    }
    violations
}

fn gaps(log: &PersistedLog) -> Vec<Violation<Rule>> {
    let mut due = Revision::EMPTY_STORE.next();
    let mut violations = Vec::new();
    for revision in log.revisions() {
        if revision != due {
            let evidence = format!("after {} comes {revision}", Revision(due.0 - 1));
            violations.push(Violation::new(Rule::RevisionGap, evidence));
        }
        due = revision.next();
    }
    violations
}

fn final_state(log: &PersistedLog, final_keys: &[KeyValue]) -> Option<Violation<Rule>> {
    let replay = Replay::new(log);
    let due = replay.range_at(&crate::history::KeyRange::all(), log.last());
    (due != final_keys).then(|| {
        let evidence = format!("the keys are {final_keys:?}, the history says {due:?}");
        Violation::new(Rule::StateDiffersFromHistory, evidence)
    })
}
