//! semantics: revisions.

use super::rig::*;
use crate::command::Entry;

#[test]
fn the_empty_store_is_at_revision_1_and_the_first_write_takes_2() {
    let mut rig = Rig::new();
    assert_eq!(rig.revision(), 1);
    assert_eq!(rig.put("a", "1"), 2);
    assert_eq!(rig.revision(), 2);
}

#[test]
fn putting_an_equal_value_is_a_change() {
    let mut rig = Rig::new();
    rig.put("a", "1");
    assert_eq!(rig.put("a", "1"), 3);
    assert_eq!(rig.get("a").unwrap().version, 2);
}

#[test]
fn version_counts_puts_and_restarts_at_1_after_a_delete() {
    let mut rig = Rig::new();
    rig.put("a", "1");
    rig.put("a", "2");
    let kv = rig.get("a").unwrap();
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (2, 3, 2));
    assert_eq!(rig.delete("a", ""), 1);
    assert_eq!(rig.get("a"), None);
    rig.put("a", "3");
    let kv = rig.get("a").unwrap();
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (5, 5, 1));
}

#[test]
fn deleting_nothing_changes_nothing() {
    let mut rig = Rig::new();
    rig.put("a", "1");
    let response = rig.delete_with(delete("b", "z"));
    assert_eq!((response.deleted, response.header.unwrap().revision), (0, 2));
    let applied =
        rig.propose(vetch_proto::vetchpb::proposal::Command::DeleteRange(delete("b", "")));
    assert!(applied.events.is_empty());
    assert_eq!(rig.revision(), 2);
}

#[test]
fn a_range_delete_takes_one_revision_and_subs_in_key_order() {
    let mut rig = Rig::new();
    for key in ["c", "a", "b", "d"] {
        rig.put(key, key);
    }
    let mut request = delete("a", "d");
    request.prev_kv = true;
    let response = rig.delete_with(request);
    assert_eq!((response.deleted, response.header.unwrap().revision), (3, 6));
    let previous: Vec<_> = response.prev_kvs.iter().map(|kv| kv.value.clone()).collect();
    assert_eq!(previous, ["a", "b", "c"]);
    assert_eq!(rig.keys(), ["d"]);
    assert_eq!(rig.stored()[4..], [(6, 0), (6, 1), (6, 2)]);
}

#[test]
fn leases_alarms_compaction_and_membership_never_move_the_revision() {
    let mut rig = Rig::new();
    rig.put("a", "1");
    rig.grant(7, 60).unwrap();
    rig.revoke(7);
    rig.compact(2).unwrap();
    rig.entry(Entry::Blank);
    rig.entry(Entry::Membership { encoded: bytes("m"), member: None, removed: None });
    assert_eq!(rig.revision(), 2);
}

#[test]
fn prev_kv_is_the_record_before_the_put_and_absent_on_creation() {
    let mut rig = Rig::new();
    let with_prev = |value: &str| {
        let mut request = put("a", value);
        request.prev_kv = true;
        request
    };
    assert_eq!(rig.put_with(with_prev("1")).unwrap().prev_kv, None);
    let previous = rig.put_with(with_prev("2")).unwrap().prev_kv.unwrap();
    assert_eq!((previous.key, previous.value, previous.mod_revision), (bytes("a"), bytes("1"), 2));
    rig.delete("a", "");
    assert_eq!(rig.put_with(with_prev("3")).unwrap().prev_kv, None);
}

#[test]
fn ignore_value_and_ignore_lease_keep_the_old_and_need_the_key() {
    use crate::error::ApplyError;
    let mut rig = Rig::new();
    rig.grant(7, 60).unwrap();
    let mut keep_value = put("a", "");
    keep_value.ignore_value = true;
    let mut keep_lease = put("a", "new");
    keep_lease.ignore_lease = true;
    assert_eq!(rig.put_with(keep_value.clone()), Err(ApplyError::KeyNotFound));
    assert_eq!(rig.put_with(keep_lease.clone()), Err(ApplyError::KeyNotFound));
    rig.put_with(leased("a", 7)).unwrap();
    rig.put_with(keep_lease).unwrap();
    let kv = rig.get("a").unwrap();
    assert_eq!((kv.value, kv.lease), (bytes("new"), 7));
    rig.put_with(keep_value).unwrap();
    let kv = rig.get("a").unwrap();
    assert_eq!((kv.value, kv.lease, kv.version), (bytes("new"), 0, 3));
}

#[test]
fn entries_of_one_batch_see_each_other_before_the_engine_does() {
    let mut rig = Rig::new();
    rig.autocommit = false;
    let mut request = put("a", "2");
    request.prev_kv = true;
    rig.put("a", "1");
    let previous = rig.put_with(request).unwrap().prev_kv.unwrap();
    assert_eq!(previous.value, "1");
    let mut old = get("a");
    old.revision = 2;
    let response = rig.txn(then(vec![get_op("a"), op_range(old)])).unwrap();
    assert_eq!(range_of(&response.responses[0]).kvs[0].value, "2");
    assert_eq!(range_of(&response.responses[1]).kvs[0].value, "1");
    assert_eq!(rig.revision(), 1, "views show committed batches only");
    rig.machine.commit().unwrap();
    assert_eq!(rig.revision(), 3);
}

fn op_range(
    request: vetch_proto::etcdserverpb::RangeRequest,
) -> vetch_proto::etcdserverpb::RequestOp {
    op(vetch_proto::etcdserverpb::request_op::Request::RequestRange(request))
}

#[test]
fn keys_up_to_the_request_limit_work_like_short_ones() {
    let mut rig = Rig::new();
    let long = |tail: &str| "k".repeat(1_500_000) + tail;
    for (key, value) in
        [(long("b"), "b"), (long("a"), "a"), ("k".to_owned(), "k"), ("l".to_owned(), "l")]
    {
        rig.put(&key, value);
        rig.put(&key, value);
    }
    let response = range(&rig.view(), &all()).unwrap();
    let values: Vec<_> = response.kvs.iter().map(|kv| kv.value.clone()).collect();
    assert_eq!(values, ["k", "a", "b", "l"]);
    let mut old = get(&long("a"));
    old.revision = 4;
    assert_eq!(range(&rig.view(), &old).unwrap().kvs[0].version, 1);
    rig.delete(&long("b"), "");
    rig.compact(rig.revision()).unwrap();
    rig.put("x", "");
    rig.reclaim(1);
    let rig = rig.reopen();
    assert_eq!(range(&rig.view(), &all()).unwrap().kvs.len(), 4);
    assert_eq!(rig.get(&long("a")).unwrap().value, "a");
}
