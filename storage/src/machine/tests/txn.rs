//! semantics: transactions.

use vetch_proto::etcdserverpb::compare::{
    CompareResult as R, CompareTarget as T, TargetUnion as U,
};
use vetch_proto::etcdserverpb::request_op::Request;
use vetch_proto::etcdserverpb::{PutRequest, RangeRequest, RequestOp, ResponseHeader, TxnRequest};

use super::rig::*;
use crate::error::ApplyError;
use crate::mvcc::{TxnFault, check_txn};
use crate::types::{LeaseId, Revision};

fn ranged(request: RangeRequest) -> RequestOp {
    op(Request::RequestRange(request))
}

fn holds(rig: &mut Rig, compare: vetch_proto::etcdserverpb::Compare) -> bool {
    rig.txn(when(compare)).unwrap().succeeded
}

#[test]
fn each_change_of_a_txn_gets_the_next_sub_of_one_main_revision() {
    let mut rig = Rig::new();
    rig.put("old", "");
    let ops = vec![put_op("b", ""), delete_op("old", ""), put_op("a", "")];
    let response = rig.txn(then(ops)).unwrap();
    assert_eq!(response.header.unwrap().revision, 3);
    assert_eq!(rig.stored(), [(2, 0), (3, 0), (3, 1), (3, 2)]);
}

#[test]
fn an_empty_txn_succeeds_without_a_revision() {
    let mut rig = Rig::new();
    let response = rig.txn(TxnRequest::default()).unwrap();
    assert!(response.succeeded);
    assert_eq!(response.header.unwrap().revision, 1);
}

#[test]
fn compares_nested_ones_too_see_the_state_before_the_txn() {
    let mut rig = Rig::new();
    rig.put("a", "old");
    let mut nested = when(value_is("a", "old"));
    nested.success = vec![put_op("seen", "old")];
    nested.failure = vec![put_op("seen", "new")];
    rig.txn(then(vec![put_op("a", "new"), txn_op(nested)])).unwrap();
    assert_eq!(rig.get("seen").unwrap().value, "old");
}

#[test]
fn the_path_leads_through_several_nested_txns_in_order() {
    let mut rig = Rig::new();
    rig.put("a", "1");
    let leaf = |want: &str, key: &str| {
        let mut txn = when(value_is("a", want));
        txn.success = vec![put_op(key, "then")];
        txn.failure = vec![put_op(key, "else")];
        txn
    };
    let mut middle = when(value_is("a", "1"));
    middle.success = vec![txn_op(leaf("0", "x")), txn_op(leaf("1", "y"))];
    let response = rig.txn(then(vec![txn_op(middle), txn_op(leaf("0", "z"))])).unwrap();
    assert_eq!(rig.get("x").unwrap().value, "else");
    assert_eq!(rig.get("y").unwrap().value, "then");
    assert_eq!(rig.get("z").unwrap().value, "else");
    assert!(txn_of(&response.responses[0]).succeeded);
    assert!(!txn_of(&response.responses[1]).succeeded);
}

#[test]
fn a_range_sees_earlier_operations_and_headers_tell_before_and_after_the_first_change() {
    let mut rig = Rig::new();
    rig.put("a", "1");
    let ops = vec![
        get_op("a"),
        delete_op("none", ""),
        put_op("a", "2"),
        get_op("a"),
        delete_op("none", ""),
        delete_op("a", ""),
        get_op("a"),
    ];
    let response = rig.txn(then(ops)).unwrap();
    let headers: Vec<i64> = response.responses.iter().map(header_of).collect();
    assert_eq!(headers, [2, 2, 3, 3, 3, 3, 3]);
    assert_eq!(range_of(&response.responses[0]).kvs[0].value, "1");
    let inner = &range_of(&response.responses[3]).kvs[0];
    assert_eq!((inner.value.clone(), inner.mod_revision, inner.version), (bytes("2"), 3, 2));
    assert_eq!(range_of(&response.responses[6]).count, 0);
}

#[test]
fn a_nested_response_has_an_all_zero_header() {
    let mut rig = Rig::new();
    let response = rig.txn(then(vec![txn_op(then(vec![put_op("a", "")]))])).unwrap();
    assert_eq!(txn_of(&response.responses[0]).header, Some(ResponseHeader::default()));
}

#[test]
fn a_failed_check_leaves_no_change_behind() {
    let mut rig = Rig::new();
    rig.put("a", "1");
    let mut future = get("a");
    future.revision = 3;
    let refused = rig.txn(then(vec![put_op("b", ""), ranged(future)]));
    assert_eq!(refused, Err(ApplyError::FutureRevision { current: Revision(2) }));
    let mut leased = put("b", "");
    leased.lease = 9;
    let refused = rig.txn(then(vec![put_op("b", ""), op(Request::RequestPut(leased))]));
    assert_eq!(refused, Err(ApplyError::LeaseNotFound(LeaseId(9))));
    let keep = PutRequest { ignore_value: true, ..put("new", "") };
    let refused = rig.txn(then(vec![put_op("new", "1"), op(Request::RequestPut(keep))]));
    assert_eq!(refused, Err(ApplyError::KeyNotFound));
    assert_eq!((rig.revision(), rig.keys()), (2, vec!["a".to_owned()]));
}

#[test]
fn a_check_in_a_branch_not_taken_does_not_matter() {
    let mut rig = Rig::new();
    let mut future = get("a");
    future.revision = 30;
    let txn = TxnRequest { failure: vec![ranged(future)], ..then(vec![put_op("a", "")]) };
    assert!(rig.txn(txn).unwrap().succeeded);
}

#[test]
fn ranges_in_a_txn_obey_compaction_and_negative_revisions_count_as_old() {
    let mut rig = Rig::new();
    for value in ["1", "2", "3"] {
        rig.put("a", value);
    }
    let at = |revision| then(vec![ranged(RangeRequest { revision, ..get("a") })]);
    assert!(rig.txn(at(-1)).is_ok());
    assert!(rig.txn(at(-2)).is_err());
    rig.compact(3).unwrap();
    let compacted = Err(ApplyError::Compacted { compact_revision: Revision(3) });
    assert_eq!(rig.txn(at(2)), compacted);
    assert_eq!(rig.txn(at(-1)), compacted);
    let response = rig.txn(at(3)).unwrap();
    assert_eq!(range_of(&response.responses[0]).kvs[0].value, "2");
}

#[test]
fn an_absent_key_compares_as_zero_and_its_value_never() {
    let mut rig = Rig::new();
    for target in [T::Version, T::Create, T::Mod, T::Lease] {
        assert!(holds(&mut rig, compare("no", target, R::Equal, None)), "{target:?}");
        assert!(!holds(&mut rig, compare("no", target, R::Greater, None)), "{target:?}");
    }
    assert!(holds(&mut rig, compare("no", T::Version, R::Less, Some(U::Version(1)))));
    for result in [R::Equal, R::NotEqual, R::Greater, R::Less] {
        let compare = compare("no", T::Value, result, Some(U::Value(bytes("x"))));
        assert!(!holds(&mut rig, compare), "{result:?}");
    }
}

#[test]
fn compares_work_on_every_target_and_an_absent_union_is_zero_or_empty() {
    let mut rig = Rig::new();
    rig.grant(7, 60).unwrap();
    rig.put_with(leased("a", 7)).unwrap();
    rig.put_with(leased("a", 7)).unwrap();
    assert!(holds(&mut rig, compare("a", T::Version, R::Equal, Some(U::Version(2)))));
    assert!(holds(&mut rig, compare("a", T::Create, R::Equal, Some(U::CreateRevision(2)))));
    assert!(holds(&mut rig, compare("a", T::Mod, R::NotEqual, Some(U::ModRevision(2)))));
    assert!(holds(&mut rig, compare("a", T::Lease, R::Equal, Some(U::Lease(7)))));
    assert!(holds(&mut rig, compare("a", T::Value, R::Less, Some(U::Value(bytes("w"))))));
    assert!(holds(&mut rig, compare("a", T::Value, R::Greater, None)));
    assert!(holds(&mut rig, compare("a", T::Version, R::Greater, None)));
    let union_of_another_target = Some(U::ModRevision(9));
    assert!(holds(&mut rig, compare("a", T::Version, R::Greater, union_of_another_target)));
}

#[test]
fn a_compare_of_a_range_needs_all_keys_and_an_empty_range_is_one_absent_key() {
    let mut rig = Rig::new();
    rig.put("a", "x");
    rig.put("b", "x");
    rig.put("b", "y");
    let over = |key: &str, end: &str, version| {
        let mut over = compare(key, T::Version, R::Equal, Some(U::Version(version)));
        over.range_end = bytes(end);
        over
    };
    assert!(holds(&mut rig, over("a", "b", 1)));
    assert!(!holds(&mut rig, over("a", "c", 1)));
    assert!(holds(&mut rig, over("c", "z", 0)));
    assert!(holds(&mut rig, over("z", "a", 0)));
    rig.delete("b", "");
    assert!(holds(&mut rig, over("a", "\0", 1)), "deleted keys are no keys");
}

#[test]
fn a_read_only_txn_on_a_view_answers_as_an_applied_one() {
    let mut rig = Rig::new();
    rig.put("a", "1");
    rig.put("b", "2");
    let mut txn = when(value_is("a", "1"));
    txn.success = vec![get_op("b"), ranged(between("a", "z"))];
    txn.failure = vec![get_op("a")];
    let viewed = rig.view().read_txn(&txn).unwrap();
    let mut applied = rig.txn(txn).unwrap();
    applied.header = None;
    assert_eq!(viewed, applied);
    let mut future = get("a");
    future.revision = 9;
    let refused = rig.view().read_txn(&then(vec![ranged(future)]));
    assert_eq!(refusal(refused), ApplyError::FutureRevision { current: Revision(3) });
}

#[test]
fn lists_are_limited_and_nested_txns_get_what_the_longest_list_of_the_parent_leaves() {
    let puts = |count: usize| (0..count).map(|i| put_op(&format!("{i}"), "")).collect::<Vec<_>>();
    assert_eq!(check_txn(&then(puts(128)), 128), Ok(()));
    assert_eq!(check_txn(&then(puts(129)), 128), Err(TxnFault::TooManyOps));
    assert_eq!(check_txn(&then(vec![txn_op(then(puts(127)))]), 128), Ok(()));
    assert_eq!(check_txn(&then(vec![txn_op(then(puts(128)))]), 128), Err(TxnFault::TooManyOps));
    assert_eq!(check_txn(&then(vec![RequestOp::default()]), 128), Err(TxnFault::EmptyOp));
    assert_eq!(check_txn(&then(vec![get_op("")]), 128), Err(TxnFault::EmptyKey));
}

#[test]
fn duplicate_keys_are_refused_per_branch_with_etcds_hole() {
    let check = |ops: Vec<RequestOp>| check_txn(&then(ops), 128);
    let duplicate = Err(TxnFault::DuplicateKey);
    assert_eq!(check(vec![put_op("a", ""), put_op("a", "")]), duplicate);
    assert_eq!(check(vec![put_op("b", ""), delete_op("a", "c")]), duplicate);
    assert_eq!(check(vec![delete_op("a", ""), put_op("a", "")]), duplicate);
    assert_eq!(check(vec![delete_op("a", "z"), delete_op("b", "c")]), Ok(()));
    let branches = TxnRequest {
        success: vec![put_op("a", "1")],
        failure: vec![put_op("a", "2")],
        ..TxnRequest::default()
    };
    assert_eq!(check_txn(&branches, 128), Ok(()));
    assert_eq!(check(vec![txn_op(branches.clone())]), Ok(()));
    assert_eq!(check(vec![txn_op(branches.clone()), put_op("a", "")]), duplicate);
    assert_eq!(check(vec![txn_op(branches.clone()), txn_op(branches)]), duplicate);
    let nested_delete = txn_op(then(vec![delete_op("a", "c")]));
    assert_eq!(check(vec![nested_delete.clone(), put_op("b", "")]), duplicate);
    assert_eq!(check(vec![put_op("b", ""), delete_op("a", "\0")]), Ok(()), "etcd's hole");
}

#[test]
fn a_put_under_an_open_ended_delete_of_the_same_txn_takes_two_subs() {
    let mut rig = Rig::new();
    let applied = rig.propose(vetch_proto::vetchpb::proposal::Command::Txn(then(vec![
        put_op("x", ""),
        delete_op("a", "\0"),
    ])));
    assert_eq!(applied.events[0].events.len(), 2);
    assert_eq!((rig.revision(), rig.get("x")), (2, None));
    assert_eq!(rig.stored(), [(2, 0), (2, 1)]);
}
