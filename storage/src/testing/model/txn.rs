//! Transactions: path, checks, operations.

use std::cmp::Ordering;

use vetch_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use vetch_proto::etcdserverpb::request_op::Request;
use vetch_proto::etcdserverpb::response_op::Response;
use vetch_proto::etcdserverpb::{
    Compare, RangeRequest, ResponseHeader, ResponseOp, TxnRequest, TxnResponse,
};
use vetch_proto::mvccpb::KeyValue;

use super::Model;
use crate::error::ApplyError;
use crate::event::Event;

/// A transaction whose branch is chosen.
struct Plan<'a> {
    succeeded: bool,
    steps: Vec<Step<'a>>,
}

enum Step<'a> {
    Operation(&'a Request),
    Nested(Plan<'a>),
    /// An operation without content; refused before the log, and nothing here.
    Nothing,
}

impl Model {
    /// §1: all compares, nested ones included, are evaluated against the state before the
    /// transaction; then all operations on the chosen path are checked against the same state; then
    /// they run, in order, and none can fail. The answer's own header is left to the caller.
    pub(super) fn txn(
        &mut self,
        request: &TxnRequest,
        changes: &mut Vec<Event>,
    ) -> Result<TxnResponse, ApplyError> {
        let plan = self.choose(request);
        self.check(&plan)?;
        Ok(self.run(&plan, changes))
    }

    /// A transaction of ranges only, outside the log. Its own header is absent.
    pub fn read_txn(&self, request: &TxnRequest) -> Result<TxnResponse, ApplyError> {
        let mut changes = Vec::new();
        let response = self.clone().txn(request, &mut changes);
        assert!(changes.is_empty(), "the caller has seen to it that the transaction only reads");
        response
    }

    fn choose<'a>(&self, request: &'a TxnRequest) -> Plan<'a> {
        let succeeded = request.compare.iter().all(|compare| self.holds(compare));
        let branch = if succeeded { &request.success } else { &request.failure };
        let steps = branch.iter().map(|operation| match &operation.request {
            Some(Request::RequestTxn(nested)) => Step::Nested(self.choose(nested)),
            Some(operation) => Step::Operation(operation),
            None => Step::Nothing,
        });
        Plan { succeeded, steps: steps.collect() }
    }

    /// §1: a compare holds if it does for every key of its range; a range without keys counts as one
    /// absent key.
    fn holds(&self, compare: &Compare) -> bool {
        let keys = self.state_now(&compare.key, &compare.range_end);
        if keys.is_empty() {
            return holds_for(compare, None);
        }
        keys.into_iter().all(|kv| holds_for(compare, Some(kv)))
    }

    fn check(&self, plan: &Plan<'_>) -> Result<(), ApplyError> {
        for step in &plan.steps {
            match step {
                Step::Operation(Request::RequestPut(put)) => self.check_put(put)?,
                Step::Operation(Request::RequestRange(range)) => self.check_range(range)?,
                Step::Nested(nested) => self.check(nested)?,
                Step::Operation(Request::RequestDeleteRange(_) | Request::RequestTxn(_))
                | Step::Nothing => {}
            }
        }
        Ok(())
    }

    /// §1, §4: like a range outside, except that a negative revision is an old one: below the mark of
    /// compactions, which is −1 before the first.
    fn check_range(&self, range: &RangeRequest) -> Result<(), ApplyError> {
        let compact_revision = self.compact_mark();
        if range.revision > self.revision.0 {
            return Err(ApplyError::FutureRevision { current: self.revision });
        }
        if range.revision != 0 && range.revision < compact_revision.0 {
            return Err(ApplyError::Compacted { compact_revision });
        }
        Ok(())
    }

    fn run(&mut self, plan: &Plan<'_>, changes: &mut Vec<Event>) -> TxnResponse {
        let mut responses = Vec::new();
        for step in &plan.steps {
            let response = match step {
                Step::Operation(Request::RequestRange(range)) => {
                    Some(Response::ResponseRange(self.read(range, changes)))
                }
                Step::Operation(Request::RequestPut(put)) => {
                    Some(Response::ResponsePut(self.put(put, changes)))
                }
                Step::Operation(Request::RequestDeleteRange(delete)) => {
                    Some(Response::ResponseDeleteRange(self.delete_range(delete, changes)))
                }
                Step::Nested(nested) => {
                    let mut response = self.run(nested, changes);
                    // §1: present, and all zero.
                    response.header = Some(ResponseHeader::default());
                    Some(Response::ResponseTxn(response))
                }
                Step::Operation(Request::RequestTxn(_)) => unreachable!("planned as nested"),
                Step::Nothing => None,
            };
            responses.push(ResponseOp { response });
        }
        TxnResponse { header: None, succeeded: plan.succeeded, responses }
    }
}

/// §1: of an absent key every number is 0, and no compare of its value holds, not even "not equal". An
/// absent union, or one of another target, is 0 or empty.
fn holds_for(compare: &Compare, kv: Option<&KeyValue>) -> bool {
    let target = CompareTarget::try_from(compare.target).ok();
    let (union_of, number, value) = match &compare.target_union {
        Some(TargetUnion::Version(number)) => (Some(CompareTarget::Version), *number, &[][..]),
        Some(TargetUnion::CreateRevision(number)) => {
            (Some(CompareTarget::Create), *number, &[][..])
        }
        Some(TargetUnion::ModRevision(number)) => (Some(CompareTarget::Mod), *number, &[][..]),
        Some(TargetUnion::Lease(number)) => (Some(CompareTarget::Lease), *number, &[][..]),
        Some(TargetUnion::Value(value)) => (Some(CompareTarget::Value), 0, value.as_ref()),
        None => (None, 0, &[][..]),
    };
    let (number, value) = if union_of == target { (number, value) } else { (0, &[][..]) };
    let order = match target {
        Some(CompareTarget::Version) => kv.map_or(0, |kv| kv.version).cmp(&number),
        Some(CompareTarget::Create) => kv.map_or(0, |kv| kv.create_revision).cmp(&number),
        Some(CompareTarget::Mod) => kv.map_or(0, |kv| kv.mod_revision).cmp(&number),
        Some(CompareTarget::Lease) => kv.map_or(0, |kv| kv.lease).cmp(&number),
        Some(CompareTarget::Value) => match kv {
            Some(kv) => kv.value.as_ref().cmp(value),
            None => return false,
        },
        // Refused before the log; here it must only mean the same on every member.
        None => Ordering::Equal,
    };
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => order == Ordering::Equal,
        Ok(CompareResult::NotEqual) => order != Ordering::Equal,
        Ok(CompareResult::Greater) => order == Ordering::Greater,
        Ok(CompareResult::Less) => order == Ordering::Less,
        Err(_) => true,
    }
}
