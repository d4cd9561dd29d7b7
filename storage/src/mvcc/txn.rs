//! Transactions before their first operation: which path they take, and whether it may be taken.
//!
//! All compares, nested ones included, are evaluated against the state before the transaction; that
//! fixes the path. Then every operation on the path is checked against the same state. Only then does
//! anything run, and nothing that runs can fail.

use std::collections::BTreeSet;

use bytes::Bytes;
use vetch_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use vetch_proto::etcdserverpb::request_op::Request;
use vetch_proto::etcdserverpb::{
    Compare, PutRequest, RangeRequest, RequestOp, ResponseHeader, ResponseOp, TxnRequest,
    TxnResponse, response_op,
};

use super::index::IndexEntry;
use super::key_range::KeyRange;
use super::range::RangePlan;
use super::reader::Reader;
use crate::engine::Engine;
use crate::error::{ApplyError, Fatal, ReadError};
use crate::lease::LeaseTable;
use crate::types::{LeaseId, Revision};

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

/// The outcome of every transaction on the taken path: outer first, then nested ones in order.
#[derive(Debug)]
pub(crate) struct Path {
    outcomes: std::vec::IntoIter<bool>,
}

impl Path {
    /// Evaluates all compares against the state before the transaction.
    pub(crate) fn choose<E: Engine>(
        reader: &Reader<'_, E>,
        txn: &TxnRequest,
    ) -> Result<Self, Fatal> {
        let mut outcomes = Vec::new();
        choose(reader, txn, &mut outcomes)?;
        Ok(Self { outcomes: outcomes.into_iter() })
    }

    /// The outcome of the next transaction on the path.
    pub(crate) fn step(&mut self) -> bool {
        self.outcomes.next().expect("the path has one outcome per transaction on it")
    }

    /// Checks every operation on the path against the state before the transaction.
    pub(crate) fn check<E: Engine>(
        &self,
        reader: &Reader<'_, E>,
        leases: &LeaseTable,
        txn: &TxnRequest,
    ) -> Result<(), ApplyError> {
        let mut path = Self { outcomes: self.outcomes.clone() };
        check_branch(reader, leases, txn, &mut path)
    }
}

/// The operations of the chosen branch.
pub(crate) fn branch(txn: &TxnRequest, succeeded: bool) -> &[RequestOp] {
    if succeeded { &txn.success } else { &txn.failure }
}

fn choose<E: Engine>(
    reader: &Reader<'_, E>,
    txn: &TxnRequest,
    outcomes: &mut Vec<bool>,
) -> Result<(), Fatal> {
    let mut succeeded = true;
    for compare in &txn.compare {
        if !holds(reader, compare)? {
            succeeded = false;
            break;
        }
    }
    outcomes.push(succeeded);
    for op in branch(txn, succeeded) {
        if let Some(Request::RequestTxn(nested)) = &op.request {
            choose(reader, nested, outcomes)?;
        }
    }
    Ok(())
}

/// Whether a compare holds for every key of its range. An empty range is one absent key; an absent
/// key has zero for everything but its value, for which no comparison holds.
fn holds<E: Engine>(reader: &Reader<'_, E>, compare: &Compare) -> Result<bool, Fatal> {
    let range = KeyRange::new(compare.key.clone(), compare.range_end.clone());
    if let KeyRange::Single(key) = &range {
        return match reader.live(key) {
            Some(entry) => entry_holds(reader, compare, key, &entry),
            None => Ok(absent_holds(compare)),
        };
    }
    let mut empty = true;
    for (key, entry) in reader.index.range(&range).filter(|(_, entry)| !entry.tombstone) {
        empty = false;
        if !entry_holds(reader, compare, &key, &entry)? {
            return Ok(false);
        }
    }
    Ok(!empty || absent_holds(compare))
}

fn entry_holds<E: Engine>(
    reader: &Reader<'_, E>,
    compare: &Compare,
    key: &Bytes,
    entry: &IndexEntry,
) -> Result<bool, Fatal> {
    let ordering = match CompareTarget::try_from(compare.target) {
        Ok(CompareTarget::Value) => {
            let wanted = match &compare.target_union {
                Some(TargetUnion::Value(value)) => value.as_ref(),
                Some(_) | None => &[],
            };
            reader.version(key, entry.modified)?.value.as_ref().cmp(wanted)
        }
        Ok(CompareTarget::Version) => entry.version.0.cmp(&number(compare)),
        Ok(CompareTarget::Create) => entry.created.0.cmp(&number(compare)),
        Ok(CompareTarget::Mod) => entry.modified.main.0.cmp(&number(compare)),
        Ok(CompareTarget::Lease) => entry.lease.0.cmp(&number(compare)),
        Err(_unknown) => std::cmp::Ordering::Equal,
    };
    Ok(ordering_holds(compare, ordering))
}

fn absent_holds(compare: &Compare) -> bool {
    match CompareTarget::try_from(compare.target) {
        Ok(CompareTarget::Value) => false,
        Ok(
            CompareTarget::Version
            | CompareTarget::Create
            | CompareTarget::Mod
            | CompareTarget::Lease,
        ) => ordering_holds(compare, 0.cmp(&number(compare))),
        Err(_unknown) => ordering_holds(compare, std::cmp::Ordering::Equal),
    }
}

/// The number to compare with; 0 when the union is absent or of another target.
fn number(compare: &Compare) -> i64 {
    match (CompareTarget::try_from(compare.target), &compare.target_union) {
        (Ok(CompareTarget::Version), Some(TargetUnion::Version(number)))
        | (Ok(CompareTarget::Create), Some(TargetUnion::CreateRevision(number)))
        | (Ok(CompareTarget::Mod), Some(TargetUnion::ModRevision(number)))
        | (Ok(CompareTarget::Lease), Some(TargetUnion::Lease(number))) => *number,
        (_, _) => 0,
    }
}

fn ordering_holds(compare: &Compare, ordering: std::cmp::Ordering) -> bool {
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => ordering.is_eq(),
        Ok(CompareResult::NotEqual) => ordering.is_ne(),
        Ok(CompareResult::Greater) => ordering.is_gt(),
        Ok(CompareResult::Less) => ordering.is_lt(),
        Err(_unknown) => true,
    }
}

fn check_branch<E: Engine>(
    reader: &Reader<'_, E>,
    leases: &LeaseTable,
    txn: &TxnRequest,
    path: &mut Path,
) -> Result<(), ApplyError> {
    let succeeded = path.step();
    for op in branch(txn, succeeded) {
        match &op.request {
            Some(Request::RequestRange(range)) => check_range(reader, range)?,
            Some(Request::RequestPut(put)) => check_put(reader, leases, put)?,
            Some(Request::RequestTxn(nested)) => check_branch(reader, leases, nested, path)?,
            Some(Request::RequestDeleteRange(_)) | None => {}
        }
    }
    Ok(())
}

/// Unlike outside a transaction, a negative revision is an old one: compacted, except −1 while nothing
/// was ever compacted.
fn check_range<E: Engine>(reader: &Reader<'_, E>, range: &RangeRequest) -> Result<(), ApplyError> {
    let oldest = reader.compacted.unwrap_or(Revision::NEVER_COMPACTED);
    match range.revision {
        0 => Ok(()),
        asked if asked > reader.revision.0 => {
            Err(ApplyError::FutureRevision { current: reader.revision })
        }
        asked if asked < oldest.0 => Err(ApplyError::Compacted { compact_revision: oldest }),
        _ => Ok(()),
    }
}

/// The checks of a put: its lease first, then the key it wants to keep something of.
pub(crate) fn check_put<E: Engine>(
    reader: &Reader<'_, E>,
    leases: &LeaseTable,
    put: &PutRequest,
) -> Result<(), ApplyError> {
    let lease = LeaseId(put.lease);
    if lease.is_some() && leases.get(lease).is_none() {
        return Err(ApplyError::LeaseNotFound(lease));
    }
    if (put.ignore_value || put.ignore_lease) && reader.live(&put.key).is_none() {
        return Err(ApplyError::KeyNotFound);
    }
    Ok(())
}

/// Whether a transaction has a put anywhere, in branches not taken too.
pub(crate) fn has_put(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match &op.request {
        Some(Request::RequestPut(_)) => true,
        Some(Request::RequestTxn(nested)) => has_put(nested),
        Some(Request::RequestRange(_) | Request::RequestDeleteRange(_)) | None => false,
    })
}

/// Evaluates a transaction of ranges only.
pub(crate) fn read_only<E: Engine>(
    reader: &Reader<'_, E>,
    leases: &LeaseTable,
    txn: &TxnRequest,
) -> Result<TxnResponse, ReadError> {
    let mut path = Path::choose(reader, txn)?;
    path.check(reader, leases, txn)?;
    run_ranges(reader, txn, &mut path)
}

fn run_ranges<E: Engine>(
    reader: &Reader<'_, E>,
    txn: &TxnRequest,
    path: &mut Path,
) -> Result<TxnResponse, ReadError> {
    let succeeded = path.step();
    let mut responses = Vec::new();
    for op in branch(txn, succeeded) {
        let response = match &op.request {
            Some(Request::RequestRange(range)) => {
                Some(response_op::Response::ResponseRange(RangePlan::respond(reader, range)?))
            }
            Some(Request::RequestTxn(nested)) => {
                let mut nested = run_ranges(reader, nested, path)?;
                nested.header = Some(ResponseHeader::default());
                Some(response_op::Response::ResponseTxn(nested))
            }
            Some(Request::RequestPut(_) | Request::RequestDeleteRange(_)) => {
                unreachable!("the caller has seen to it that the transaction only reads")
            }
            None => None,
        };
        responses.push(ResponseOp { response });
    }
    Ok(TxnResponse { header: None, succeeded, responses })
}
