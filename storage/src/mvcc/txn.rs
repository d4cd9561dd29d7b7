//! Transactions before their first operation: which path they take, and whether it may be taken.
//!
//! All compares, nested ones included, are evaluated against the state before the transaction; that
//! fixes the path. Then every operation on the path is checked against the same state. Only then does
//! anything run, and nothing that runs can fail.
//!
//! - `shape`: what is refused before the log. `compare`: whether a compare holds.

use vetch_proto::etcdserverpb::request_op::Request;
use vetch_proto::etcdserverpb::{
    PutRequest, RangeRequest, RequestOp, ResponseHeader, ResponseOp, TxnRequest, TxnResponse,
    response_op,
};

use super::range::RangePlan;
use super::reader::Reader;
use crate::engine::Engine;
use crate::error::{ApplyError, Fatal, ReadError};
use crate::lease::LeaseTable;
use crate::types::{LeaseId, Revision};

mod compare;
mod shape;

use compare::holds;

pub use shape::{TxnFault, check_txn};

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
