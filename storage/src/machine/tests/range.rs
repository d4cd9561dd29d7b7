//! semantics: Range.

use vetch_proto::etcdserverpb::RangeRequest;
use vetch_proto::etcdserverpb::range_request::{SortOrder, SortTarget};

use super::rig::*;
use crate::error::ApplyError;
use crate::types::Revision;

/// a..e with distinct versions, revisions and values:
/// key: create/mod/version/value  a: 2/9/2/z  b: 3/3/1/y  c: 4/8/3/x  d: 5/5/1/w  e: 6/6/1/v
fn store() -> Rig {
    let mut rig = Rig::new();
    for (key, value) in [("a", "1"), ("b", "y"), ("c", "1"), ("d", "w"), ("e", "v"), ("c", "2")] {
        rig.put(key, value);
    }
    rig.put("c", "x");
    rig.put("a", "z");
    rig
}

fn ask(rig: &Rig, request: &RangeRequest) -> (Vec<String>, i64, bool) {
    let response = range(&rig.view(), request).unwrap();
    (keys(&response), response.count, response.more)
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn range_end_names_one_key_a_half_open_range_or_all_behind() {
    let rig = store();
    assert_eq!(ask(&rig, &get("b")).0, ["b"]);
    assert_eq!(ask(&rig, &between("b", "d")).0, ["b", "c"]);
    assert_eq!(ask(&rig, &between("c", "\0")).0, ["c", "d", "e"]);
    assert_eq!(ask(&rig, &all()).0, words("a b c d e"));
    assert_eq!(ask(&rig, &between("d", "b")), (vec![], 0, false));
    assert_eq!(ask(&rig, &between("b", "b")), (vec![], 0, false));
}

#[test]
fn count_ignores_limit_and_filters_and_more_says_what_the_limit_cut() {
    let rig = store();
    assert_eq!(ask(&rig, &RangeRequest { limit: 2, ..all() }), (words("a b"), 5, true));
    assert_eq!(ask(&rig, &RangeRequest { limit: 5, ..all() }), (words("a b c d e"), 5, false));
    assert_eq!(ask(&rig, &RangeRequest { limit: -1, ..all() }).0.len(), 5);
    let filtered = RangeRequest { min_mod_revision: 5, max_mod_revision: 8, ..all() };
    assert_eq!(ask(&rig, &filtered.clone()), (words("c d e"), 5, false));
    assert_eq!(
        ask(&rig, &RangeRequest { limit: 3, ..filtered.clone() }),
        (words("c d e"), 5, false)
    );
    assert_eq!(ask(&rig, &RangeRequest { limit: 2, ..filtered }), (words("c d"), 5, true));
    let created = RangeRequest { min_create_revision: 3, max_create_revision: 4, ..all() };
    assert_eq!(ask(&rig, &created), (words("b c"), 5, false));
}

#[test]
fn count_only_ignores_filters_order_and_limit() {
    let rig = store();
    let request = RangeRequest {
        count_only: true,
        limit: 1,
        min_mod_revision: 8,
        sort_target: SortTarget::Value.into(),
        ..all()
    };
    assert_eq!(ask(&rig, &request), (vec![], 5, false));
}

#[test]
fn sorts_by_every_target_in_both_directions() {
    let rig = store();
    let sorted = |target: SortTarget, order: SortOrder| {
        let request =
            RangeRequest { sort_target: target.into(), sort_order: order.into(), ..all() };
        ask(&rig, &request).0.join(" ")
    };
    assert_eq!(sorted(SortTarget::Key, SortOrder::None), "a b c d e");
    assert_eq!(sorted(SortTarget::Key, SortOrder::Descend), "e d c b a");
    assert_eq!(sorted(SortTarget::Mod, SortOrder::Ascend), "b d e c a");
    assert_eq!(sorted(SortTarget::Mod, SortOrder::Descend), "a c e d b");
    assert_eq!(sorted(SortTarget::Create, SortOrder::Descend), "e d c b a");
    assert_eq!(sorted(SortTarget::Value, SortOrder::Ascend), "e d c b a");
    assert_eq!(sorted(SortTarget::Version, SortOrder::Ascend), "b d e a c", "ties in key order");
    assert_eq!(sorted(SortTarget::Version, SortOrder::Descend), "c a b d e", "ties in key order");
}

#[test]
fn a_limit_on_descending_keys_takes_the_last_ones() {
    let mut rig = store();
    rig.delete("d", "");
    let last = |request: RangeRequest, limit| {
        ask(&rig, &RangeRequest { sort_order: SortOrder::Descend.into(), limit, ..request })
    };
    assert_eq!(last(all(), 1), (words("e"), 4, true));
    assert_eq!(last(all(), 3), (words("e c b"), 4, true));
    assert_eq!(last(all(), 4), (words("e c b a"), 4, false));
    assert_eq!(last(between("a", "d"), 2), (words("c b"), 3, true));
    let old = RangeRequest { revision: 9, ..all() };
    assert_eq!(last(old, 2), (words("e d"), 5, true));
}

#[test]
fn a_sort_target_without_an_order_sorts_ascending() {
    let rig = store();
    let request = RangeRequest { sort_target: SortTarget::Mod.into(), ..all() };
    assert_eq!(ask(&rig, &request).0, words("b d e c a"));
}

#[test]
fn the_limit_cuts_after_the_sort_except_when_no_order_was_named() {
    let rig = store();
    let by_mod = RangeRequest { sort_target: SortTarget::Mod.into(), limit: 2, ..all() };
    let ascending = RangeRequest { sort_order: SortOrder::Ascend.into(), ..by_mod.clone() };
    assert_eq!(ask(&rig, &ascending), (words("b d"), 5, true));
    // The first three of the range, sorted, then cut.
    assert_eq!(ask(&rig, &by_mod), (words("b c"), 5, true));
}

#[test]
fn keys_only_drops_values_and_leases_except_when_sorted_by_value() {
    let mut rig = Rig::new();
    rig.grant(7, 60).unwrap();
    rig.put_with(leased("a", 7)).unwrap();
    let request = RangeRequest { keys_only: true, ..get("a") };
    let kv = range(&rig.view(), &request).unwrap().kvs.pop().unwrap();
    assert_eq!((kv.value.len(), kv.lease, kv.mod_revision, kv.version), (0, 0, 2, 1));
    let by_value = RangeRequest { sort_target: SortTarget::Value.into(), ..request };
    let kv = range(&rig.view(), &by_value).unwrap().kvs.pop().unwrap();
    assert_eq!((kv.value.len(), kv.lease), (0, 7));
}

#[test]
fn older_revisions_read_as_they_were() {
    let mut rig = store();
    rig.delete("b", "d");
    rig.put("f", "new");
    rig.put("b", "again");
    let at = |revision, request: RangeRequest| ask(&rig, &RangeRequest { revision, ..request });
    assert_eq!(at(2, all()), (words("a"), 1, false));
    assert_eq!(at(5, all()), (words("a b c d"), 4, false));
    assert_eq!(at(9, all()), (words("a b c d e"), 5, false));
    assert_eq!(at(10, all()), (words("a d e"), 3, false));
    assert_eq!(at(12, all()), (words("a b d e f"), 5, false));
    assert_eq!(at(9, RangeRequest { limit: 2, ..between("b", "z") }), (words("b c"), 4, true));
    assert_eq!(at(9, RangeRequest { count_only: true, ..between("b", "d") }).1, 2);
    let old = RangeRequest { revision: 7, ..get("c") };
    let kv = range(&rig.view(), &old).unwrap().kvs.pop().unwrap();
    assert_eq!((kv.value, kv.mod_revision, kv.version), (bytes("2"), 7, 2));
    let old = RangeRequest {
        revision: 7,
        sort_target: SortTarget::Mod.into(),
        sort_order: SortOrder::Descend.into(),
        ..all()
    };
    assert_eq!(ask(&rig, &old).0, words("c e d b a"));
}

#[test]
fn a_revision_at_the_compacted_one_is_readable_below_and_above_the_current_are_not() {
    let mut rig = store();
    rig.compact(5).unwrap();
    let at = |revision| range(&rig.view(), &RangeRequest { revision, limit: 1, ..all() });
    assert_eq!(refusal(at(4)), ApplyError::Compacted { compact_revision: Revision(5) });
    assert_eq!(refusal(at(10)), ApplyError::FutureRevision { current: Revision(9) });
    assert_eq!(at(5).unwrap().count, 4);
    assert_eq!(at(-7).unwrap().count, 5);
    let count = RangeRequest { revision: 4, count_only: true, ..all() };
    assert!(range(&rig.view(), &count).is_err());
}

#[test]
fn long_lists_come_in_windows_and_pass_over_old_versions() {
    let mut rig = Rig::new();
    rig.autocommit = false;
    for round in 0..3 {
        for i in 0..2_500 {
            rig.put(&format!("{i:05}"), &format!("{round}-{i}"));
            if i % 500 == 7 {
                for _ in 0..20 {
                    rig.put(&format!("{i:05}"), &format!("{round}-{i}"));
                }
            }
        }
    }
    rig.machine.commit().unwrap();
    let (keys, count, more) = ask(&rig, &all());
    assert_eq!((keys.len(), count, more), (2_500, 2_500, false));
    assert!(keys.is_sorted());
    let (keys, count, more) = ask(&rig, &RangeRequest { limit: 2_000, ..between("00100", "\0") });
    assert_eq!((keys.len(), count, more), (2_000, 2_400, true));
    assert_eq!(keys[0], "00100");
    let mut answer = rig.view().range(&all()).unwrap();
    let mut seen = 0;
    while answer.remaining() > 0 {
        for kv in answer.next_records(700).unwrap() {
            assert_eq!(kv.value, format!("2-{seen}"));
            seen += 1;
        }
    }
    assert_eq!(seen, 2_500);
}

#[test]
fn a_view_never_changes_under_its_holder() {
    let mut rig = store();
    let view = rig.view();
    rig.delete("\0", "\0");
    assert_eq!(range(&view, &all()).unwrap().count, 5);
    assert_eq!(view.revision(), Revision(9));
    assert_eq!(rig.view().revision(), Revision(10));
}
