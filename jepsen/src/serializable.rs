//! Reads that need not be fresh: serializable ones, and those of a named revision.
//!
//! Such an answer may be old, but it must be exactly a state the store was in: the one of the
//! header's revision, or of the revision that was asked for.

use crate::history::{Answer, Op, Operation, Range};
use crate::persisted::Replay;
use crate::violation::Violation;

/// What can be wrong with such a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The answer is no state the store was in at that revision.
    NeverAState,
    /// The header names a revision the store has not reached even at the end.
    FutureRevision,
}

/// Checks every such read of the history.
pub fn check(history: &[Operation], replay: &Replay) -> Vec<Violation<Rule>> {
    history
        .iter()
        .filter_map(|operation| match &operation.op {
            Op::Range(range) if operation.op.is_replayed_read() => {
                check_read(operation, range, replay)
            }
            Op::Put(_) | Op::Range(_) | Op::Delete(_) | Op::Txn(_) | Op::LeaseRevoke { .. } => None,
        })
        .collect()
}

fn check_read(operation: &Operation, range: &Range, replay: &Replay) -> Option<Violation<Rule>> {
    let response = operation.response()?;
    let at = range.revision.unwrap_or(response.revision);
    if response.revision > replay.last() || at > response.revision {
        let evidence = format!(
            "operation {} read revision {at} with header {}; the last is {}",
            operation.id,
            response.revision,
            replay.last()
        );
        return Some(Violation::new(Rule::FutureRevision, evidence));
    }
    let kvs = replay.range_at(&range.range, at);
    let count = i64::try_from(kvs.len()).expect("fewer than 2^63 keys");
    let due = Answer::Range { kvs, count };
    (response.answer != due).then(|| {
        let evidence = format!(
            "operation {} at revision {at} was answered {:?}, the state was {due:?}",
            operation.id, response.answer
        );
        Violation::new(Rule::NeverAState, evidence)
    })
}
