//! Turns a history into the calls a search must or may place.
//!
//! An operation without an answer is not without traces. A value that only it writes may have been
//! read by somebody, with its revision; then it took effect, and before that read was answered.
//! And once the store's persisted events are known, a value that is not among them was never
//! written. Neither assumes anything that was not observed, and together they remove most of the
//! search's freedom.

use super::model::{Call, Model, Rank};
use crate::history::{
    Answer, Blob, KeyValue, Op, Operation, Outcome, Put, Response, Revision, Step,
};
use crate::persisted::PersistedLog;
use std::collections::BTreeMap;

/// The calls of a history. Reads that may be stale are left out; they are the replay's matter.
pub(super) fn resolve<'a, M>(
    history: &'a [Operation],
    persisted: Option<&PersistedLog>,
) -> Vec<Call<'a, M>>
where
    M: Model<Op = Op, Response = Response>,
{
    let traces = Traces::new(history, persisted);
    let seen_by = SeenBy::new(history);
    let call = |operation: &'a Operation| {
        let (complete, rank) = match &operation.outcome {
            Outcome::Fail(_) => return None,
            Outcome::Ok(response) => {
                (Some(operation.complete?.order), Some(rank(&operation.op, response)))
            }
            Outcome::Unknown(_) => match traces.fate(operation) {
                Fate::Never => return None,
                Fate::Undetermined => (None, None),
                Fate::At(revision) => {
                    let complete = seen_by.first(revision, operation.invoke.order);
                    (complete, complete.map(|_| write_rank(revision)))
                }
            },
        };
        Some(Call {
            id: operation.id,
            invoke: operation.invoke.order,
            complete,
            op: &operation.op,
            response: operation.response(),
            rank,
        })
    };
    history.iter().filter(|operation| !operation.op.is_replayed_read()).filter_map(call).collect()
}

/// At its revision the write comes first, then whatever only saw it.
fn write_rank(revision: Revision) -> Rank {
    Rank { earliest: revision.0 * 2, latest: revision.0 * 2 }
}

fn rank(op: &Op, response: &Response) -> Rank {
    let write = write_rank(response.revision);
    let read = Rank { earliest: write.earliest + 1, latest: write.latest + 1 };
    match (op, &response.answer) {
        (Op::Put(_), _) => write,
        (Op::Txn(txn), Answer::Txn { succeeded, answers }) => {
            let put = txn.branch(*succeeded).iter().any(|step| matches!(step, Step::Put(_)));
            if put || answers.iter().any(deleted_some) { write } else { read }
        }
        // A revoke does not say whether it took any key.
        (Op::LeaseRevoke { .. }, _) => Rank { latest: read.latest, ..write },
        (Op::Delete(_) | Op::Range(_) | Op::Txn(_), answer) => {
            if deleted_some(answer) {
                write
            } else {
                read
            }
        }
    }
}

fn deleted_some(answer: &Answer) -> bool {
    matches!(answer, Answer::Delete { deleted, .. } if *deleted > 0)
}

/// What became of an operation without an answer.
enum Fate {
    Never,
    At(Revision),
    Undetermined,
}

/// Where each value was seen, and how many operations write it.
struct Traces<'a> {
    seen: BTreeMap<(&'a Blob, &'a Blob), Revision>,
    writers: BTreeMap<(&'a Blob, &'a Blob), usize>,
    /// Everything that happened is in `seen`.
    complete: bool,
}

impl<'a> Traces<'a> {
    fn new(history: &'a [Operation], log: Option<&'a PersistedLog>) -> Self {
        let answers = history.iter().filter_map(Operation::response);
        let read = answers.flat_map(|response| keys_in(&response.answer));
        let persisted = log.into_iter().flat_map(PersistedLog::events).map(|event| &event.kv);
        let seen =
            read.chain(persisted).map(|kv| ((&kv.key, &kv.value), kv.mod_revision)).collect();
        let mut writers = BTreeMap::new();
        for put in history.iter().flat_map(|operation| operation.op.puts()) {
            *writers.entry((&put.key, &put.value)).or_insert(0) += 1;
        }
        Self { seen, writers, complete: log.is_some() }
    }

    fn fate(&self, operation: &Operation) -> Fate {
        if operation.op.is_read() {
            return Fate::Never;
        }
        let puts = operation.op.puts();
        let own = |put: &&Put| self.writers[&(&put.key, &put.value)] == 1;
        if puts.is_empty() || !puts.iter().all(own) {
            return Fate::Undetermined;
        }
        let seen = puts.iter().find_map(|put| self.seen.get(&(&put.key, &put.value)));
        match seen {
            Some(revision) => Fate::At(*revision),
            None if self.complete && !may_change_without_put(&operation.op) => Fate::Never,
            None => Fate::Undetermined,
        }
    }
}

fn keys_in(answer: &Answer) -> Vec<&KeyValue> {
    match answer {
        Answer::Put { prev } => prev.iter().collect(),
        Answer::Range { kvs, .. } => kvs.iter().collect(),
        Answer::Delete { prev, .. } => prev.iter().collect(),
        Answer::Txn { answers, .. } => answers.iter().flat_map(keys_in).collect(),
        Answer::LeaseRevoke => Vec::new(),
    }
}

/// True if a branch only deletes: its effect leaves no value to recognise it by.
fn may_change_without_put(op: &Op) -> bool {
    match op {
        Op::Txn(txn) => [&txn.success, &txn.failure].iter().any(|branch| {
            branch.iter().any(|step| matches!(step, Step::Delete(_)))
                && !branch.iter().any(|step| matches!(step, Step::Put(_)))
        }),
        Op::Delete(_) | Op::LeaseRevoke { .. } => true,
        Op::Put(_) | Op::Range(_) => false,
    }
}

/// When a revision was first seen by any client.
struct SeenBy {
    /// Earliest completion that saw this revision or a later one.
    earliest: BTreeMap<Revision, u64>,
}

impl SeenBy {
    fn new(history: &[Operation]) -> Self {
        let mut earliest = BTreeMap::new();
        for operation in history {
            if let (Some(response), Some(complete)) = (operation.response(), operation.complete) {
                let order = earliest.entry(response.revision).or_insert(complete.order);
                *order = complete.order.min(*order);
            }
        }
        let mut minimum = u64::MAX;
        for order in earliest.values_mut().rev() {
            minimum = minimum.min(*order);
            *order = minimum;
        }
        Self { earliest }
    }

    /// The earliest answer that shows `revision` to have happened. One from before the call itself
    /// contradicts the history; the call then has no room, which the search finds out.
    fn first(&self, revision: Revision, invoke: u64) -> Option<u64> {
        self.earliest.range(revision..).next().map(|(_, order)| (*order).max(invoke + 1))
    }
}
