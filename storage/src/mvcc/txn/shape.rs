//! Whether a transaction may enter the log: a question to the request alone.

use std::collections::BTreeSet;

use bytes::Bytes;
use vetch_proto::etcdserverpb::request_op::Request;
use vetch_proto::etcdserverpb::{RequestOp, TxnRequest};

use crate::mvcc::key_range::KeyRange;

/// Why a transaction must not enter the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TxnFault {
    /// A list is longer than allowed; a nested transaction may use what its parent's longest list
    /// leaves.
    #[error("too many operations in a transaction")]
    TooManyOps,
    /// A compare or operation without a key.
    #[error("key is empty")]
    EmptyKey,
    /// An operation without content.
    #[error("operation is empty")]
    EmptyOp,
    /// One branch puts a key twice, or puts a key it deletes.
    #[error("duplicate key in a transaction")]
    DuplicateKey,
}

/// Checks the shape of a transaction: list lengths, keys present, no key changed twice in a branch.
/// A function of the request alone, for use before the log; what concerns single operations beyond
/// their keys is the caller's.
pub fn check_txn(txn: &TxnRequest, max_ops: usize) -> Result<(), TxnFault> {
    check_lists(txn, max_ops)?;
    check_overlap(&txn.success)?;
    check_overlap(&txn.failure)?;
    Ok(())
}

fn check_lists(txn: &TxnRequest, max_ops: usize) -> Result<(), TxnFault> {
    let longest = txn.compare.len().max(txn.success.len()).max(txn.failure.len());
    let Some(budget) = max_ops.checked_sub(longest) else { return Err(TxnFault::TooManyOps) };
    if txn.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(TxnFault::EmptyKey);
    }
    for op in txn.success.iter().chain(&txn.failure) {
        let key = match &op.request {
            None => return Err(TxnFault::EmptyOp),
            Some(Request::RequestTxn(nested)) => {
                check_lists(nested, budget)?;
                continue;
            }
            Some(Request::RequestRange(range)) => &range.key,
            Some(Request::RequestPut(put)) => &put.key,
            Some(Request::RequestDeleteRange(delete)) => &delete.key,
        };
        if key.is_empty() {
            return Err(TxnFault::EmptyKey);
        }
    }
    Ok(())
}

/// What a list of operations may change.
#[derive(Default)]
struct Changed<'a> {
    puts: BTreeSet<&'a Bytes>,
    deletes: Vec<KeyRange>,
}

impl<'a> Changed<'a> {
    fn deletes(&self, key: &Bytes) -> bool {
        self.deletes.iter().any(|range| match range {
            // etcd does not see an open end here; a stricter check would refuse what it accepts.
            KeyRange::From(_) => false,
            KeyRange::Single(_) | KeyRange::HalfOpen { .. } => range.contains(key),
        })
    }

    fn add_puts(
        &mut self,
        puts: &BTreeSet<&'a Bytes>,
        may_meet: &BTreeSet<&'a Bytes>,
    ) -> Result<(), TxnFault> {
        for key in puts {
            if (self.puts.contains(key) && !may_meet.contains(key)) || self.deletes(key) {
                return Err(TxnFault::DuplicateKey);
            }
            self.puts.insert(key);
        }
        Ok(())
    }
}

/// The order of the checks matters and is etcd's: this level's deletes, then each nested transaction
/// (whose deletes count for those after it), then this level's puts.
fn check_overlap(ops: &[RequestOp]) -> Result<Changed<'_>, TxnFault> {
    let mut changed = Changed::default();
    for op in ops {
        if let Some(Request::RequestDeleteRange(delete)) = &op.request {
            changed.deletes.push(KeyRange::new(delete.key.clone(), delete.range_end.clone()));
        }
    }
    for op in ops {
        if let Some(Request::RequestTxn(nested)) = &op.request {
            let then = check_overlap(&nested.success)?;
            let otherwise = check_overlap(&nested.failure)?;
            changed.add_puts(&then.puts, &BTreeSet::new())?;
            changed.add_puts(&otherwise.puts, &then.puts)?;
            changed.deletes.extend(then.deletes);
            changed.deletes.extend(otherwise.deletes);
        }
    }
    for op in ops {
        if let Some(Request::RequestPut(put)) = &op.request {
            changed.add_puts(&BTreeSet::from([&put.key]), &BTreeSet::new())?;
        }
    }
    Ok(changed)
}
