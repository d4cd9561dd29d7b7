//! The model against what was measured on etcd 3.7.1, so that it is not only held against the machine
//! it judges.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use vetch_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use vetch_proto::etcdserverpb::request_op::Request;
use vetch_proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, PutRequest, RequestOp, TxnRequest,
};
use vetch_proto::vetchpb::Proposal;
use vetch_proto::vetchpb::proposal::Command;

use super::Model;
use crate::command::{Applied, Entry};
use crate::mvcc::{TxnFault, check_txn};
use crate::testing::generate;
use crate::types::{LogId, Revision};
use crate::view::HashKv;

fn propose(model: &mut Model, command: Command) -> Applied {
    let mut id: LogId = model.applied();
    id.index.0 += 1;
    let proposal = Proposal { command: Some(command), ..Proposal::default() };
    model.apply(id, Entry::Proposal(&proposal))
}

fn put(key: &'static str, value: &'static str) -> PutRequest {
    PutRequest { key: key.into(), value: value.into(), ..PutRequest::default() }
}

fn delete(key: &'static str, end: &'static str) -> DeleteRangeRequest {
    DeleteRangeRequest { key: key.into(), range_end: end.into(), prev_kv: false }
}

fn compact(model: &mut Model, revision: i64) {
    let request = CompactionRequest { revision, physical: true };
    propose(model, Command::Compaction(request)).response.unwrap();
}

fn op(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

#[test]
fn hashes_equal_etcds_through_compactions() {
    let mut model = Model::new();
    let hash = |model: &Model, revision, expected: u32, compact_revision, hash_revision| {
        let found = model.hash_kv(Revision(revision), model.compactions().len()).unwrap();
        let hash_revision = Revision(hash_revision);
        assert_eq!(found, HashKv { hash: expected, compact_revision, hash_revision });
    };
    let m = &mut model;
    hash(m, 0, 1_084_519_789, -1, 1);
    for (key, value) in [("a", "1"), ("b", "2"), ("a", "3")] {
        propose(m, Command::Put(put(key, value)));
    }
    propose(m, Command::DeleteRange(delete("b", "")));
    propose(m, Command::Put(put("c", "")));
    let compare = Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Value.into(),
        key: "a".into(),
        target_union: Some(TargetUnion::Value("3".into())),
        ..Compare::default()
    };
    let success = vec![
        op(Request::RequestPut(put("d", "x"))),
        op(Request::RequestPut(put("e", "y"))),
        op(Request::RequestDeleteRange(delete("c", ""))),
    ];
    let txn = TxnRequest { compare: vec![compare], success, ..TxnRequest::default() };
    propose(m, Command::Txn(txn));
    hash(m, 0, 4_187_747_589, -1, 7);
    hash(m, 4, 2_069_675_932, -1, 4);
    hash(m, 5, 1_125_682_900, -1, 5);
    compact(m, 4);
    hash(m, 0, 1_100_726_427, 4, 7);
    hash(m, 4, 2_069_675_932, -1, 4);
    hash(m, 5, 1_468_967_122, 4, 5);
    propose(m, Command::Put(put("a", "9")));
    propose(m, Command::DeleteRange(delete("a", "")));
    hash(m, 0, 1_756_428_253, 4, 9);
    compact(m, 7);
    hash(m, 0, 105_533_285, 7, 9);
    hash(m, 7, 1_100_726_427, 4, 7);
    hash(m, 4, 2_069_675_932, -1, 4);
    hash(m, 8, 1_288_099_512, 7, 8);
    propose(m, Command::DeleteRange(delete("\0", "\0")));
    hash(m, 0, 2_782_889_054, 7, 10);
    hash(m, 9, 105_533_285, 7, 9);
    compact(m, 10);
    hash(m, 10, 1_051_677_012, 7, 10);
    propose(m, Command::Put(put("z", "1")));
    hash(m, 0, 974_378_710, 10, 11);
    hash(m, 10, 1_051_677_012, 7, 10);
    propose(m, Command::DeleteRange(delete("z", "")));
    hash(m, 0, 1_756_052_931, 10, 12);
}

proptest! {
    /// Two statements of one rule: pair by pair here, in one walk where requests are checked.
    #[test]
    fn the_check_of_a_transactions_shape_is_the_models(txn in generate::any_txns()) {
        for max_ops in [1, 3, 128] {
            prop_assert_eq!(check_txn(&txn, max_ops).is_ok(), Model::admits(&txn, max_ops));
        }
    }
}

/// The property above is empty unless both outcomes are common.
#[test]
fn generated_transactions_are_of_every_shape() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut fine, mut duplicate, mut nested) = (0, 0, 0);
    for _ in 0..400 {
        let txn = generate::any_txns().new_tree(&mut runner).unwrap().current();
        match check_txn(&txn, 128) {
            Ok(()) => fine += 1,
            Err(TxnFault::DuplicateKey) => duplicate += 1,
            other => panic!("{other:?}"),
        }
        let has_txn = |op: &RequestOp| matches!(op.request, Some(Request::RequestTxn(_)));
        nested += usize::from(txn.success.iter().any(has_txn));
    }
    assert!(fine > 100 && duplicate > 20 && nested > 100, "{fine} {duplicate} {nested}");
}
