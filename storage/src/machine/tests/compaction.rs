//! semantics: compaction; reliability cases F1 and D14.

use super::rig::*;
use crate::error::ApplyError;
use crate::machine::CompactionProgress;
use crate::mvcc::key_range::KeyRange;
use crate::types::Revision;

#[test]
fn compacting_twice_or_into_the_future_is_refused_and_zero_works_once() {
    let mut rig = Rig::new();
    rig.put("a", "1");
    rig.compact(0).unwrap();
    assert_eq!(rig.compact(0), Err(ApplyError::Compacted { compact_revision: Revision(0) }));
    assert_eq!(rig.compact(3), Err(ApplyError::FutureRevision { current: Revision(2) }));
    rig.compact(2).unwrap();
    assert_eq!(rig.compact(2), Err(ApplyError::Compacted { compact_revision: Revision(2) }));
    assert_eq!(rig.compact(-1), Err(ApplyError::Compacted { compact_revision: Revision(2) }));
    let mut fresh = Rig::new();
    assert!(fresh.compact(-1).is_err());
    assert_eq!(fresh.view().compact_revision(), None);
    fresh.compact(1).unwrap();
}

#[test]
fn the_boundary_holds_at_once_and_deletion_follows_in_steps() {
    let mut rig = Rig::new();
    for value in ["1", "2", "3"] {
        rig.put("a", value);
    }
    rig.compact(3).unwrap();
    let mut old = get("a");
    old.revision = 2;
    assert!(range(&rig.view(), &old).is_err());
    assert_eq!(rig.stored().len(), 3);
    assert_eq!(rig.reclaim(1), Revision(3));
    assert_eq!(rig.stored(), [(3, 0), (4, 0)]);
    old.revision = 3;
    assert_eq!(range(&rig.view(), &old).unwrap().kvs[0].value, "2");
}

#[test]
fn per_key_the_newest_up_to_the_revision_stays_and_a_deletion_only_at_it() {
    let mut rig = Rig::new();
    rig.put("a", "1"); // 2
    rig.put("b", "1"); // 3
    rig.delete("a", ""); // 4
    rig.delete("b", ""); // 5
    rig.put("c", "1"); // 6
    rig.compact(5).unwrap();
    rig.reclaim(1000);
    assert_eq!(rig.stored(), [(5, 0), (6, 0)], "b's deletion is at the revision itself");
    rig.compact(6).unwrap();
    rig.reclaim(1000);
    assert_eq!(rig.stored(), [(6, 0)]);
    rig.put("a", "2");
    assert_eq!(rig.view().index().len(), 2, "compacted deletions leave the index");
    assert_eq!(rig.get("a").unwrap().version, 1);
}

#[test]
fn a_key_written_again_after_its_deletion_survives_the_deletions_compaction() {
    let mut rig = Rig::new();
    rig.put("a", "1");
    rig.delete("a", "");
    rig.compact(3).unwrap();
    rig.put("b", "");
    rig.compact(4).unwrap();
    let mut compactor = rig.machine.compactor();
    while compactor.step(1).unwrap() == CompactionProgress::More {}
    rig.put("a", "2");
    assert_eq!(rig.get("a").unwrap().value, "2");
    assert_eq!(rig.reopen().get("a").unwrap().value, "2");
}

/// etcd's check for duplicate keys lets this transaction in, and its compaction then deletes the put:
/// etcd 3.7.1 ends with "range failed to find revision pair". Here the key stays.
#[test]
fn a_key_deleted_and_written_again_in_one_revision_survives_a_compaction_to_it() {
    let mut rig = Rig::new();
    rig.put("a", "1"); // 2
    rig.txn(then(vec![delete_op("a", "\0"), put_op("a", "2")])).unwrap(); // 3
    rig.put("b", ""); // 4
    for compacted in [3, 4] {
        rig.compact(compacted).unwrap();
        rig.reclaim(1);
        for rig in [&rig, &rig.reopen()] {
            let kv = rig.get("a").unwrap();
            assert_eq!((kv.value, kv.version, kv.create_revision), (bytes("2"), 1, 3));
        }
        rig = rig.reopen();
    }
    assert_eq!(rig.stored(), [(3, 1), (4, 0)]);
}

#[test]
fn a_held_view_pins_what_it_can_read() {
    let mut rig = Rig::new();
    for value in ["1", "2", "3"] {
        rig.put("a", value);
    }
    rig.compact(2).unwrap();
    rig.reclaim(1000);
    let view = rig.view();
    rig.compact(4).unwrap();
    let mut compactor = rig.machine.compactor();
    assert_eq!(compactor.step(1000).unwrap(), CompactionProgress::More, "the hash is taken");
    assert_eq!(compactor.step(1000).unwrap(), CompactionProgress::Pinned);
    let mut old = get("a");
    old.revision = 3;
    assert_eq!(range(&view, &old).unwrap().kvs[0].value, "2");
    drop(view);
    assert_eq!(rig.reclaim(1000), Revision(4));
    assert_eq!(rig.stored(), [(4, 0)]);
}

#[test]
fn several_scheduled_compactions_are_dealt_with_in_order() {
    let mut rig = Rig::new();
    for i in 0..10 {
        rig.put("a", &format!("{i}"));
    }
    for revision in [3, 5, 8] {
        rig.compact(revision).unwrap();
    }
    assert_eq!(rig.reclaim(2), Revision(8));
    assert_eq!(rig.stored(), [(8, 0), (9, 0), (10, 0), (11, 0)]);
    let hash = |revision| rig.view().hash_kv(Revision(revision)).unwrap().compact_revision;
    assert_eq!([hash(3), hash(5), hash(8)], [-1, 3, 5]);
}

/// F1, D14: killed after any step, at any batch size, a compaction goes on where it was, deletes the
/// same and counts the same.
#[test]
fn a_crash_between_any_two_steps_repeats_and_loses_nothing() {
    let build = || {
        let mut rig = Rig::new();
        for i in 0..30 {
            rig.put(&format!("{}", i % 4), &format!("{i}"));
            if i % 3 == 0 {
                rig.delete(&format!("{}", i % 4), "");
            }
        }
        rig.compact(12).unwrap();
        rig.put("x", "");
        rig.compact(31).unwrap();
        rig
    };
    let mut undisturbed = build();
    undisturbed.reclaim(1000);
    let expected = (undisturbed.stored(), undisturbed.view().sizes().live, undisturbed.keys());
    for limit in [1, 2, 10] {
        let mut rig = build();
        // Ever longer lives: a hash that is being taken when the process dies is begun anew.
        let (mut life, mut age) = (1, 0);
        while rig.machine.compactor().step(limit).unwrap() == CompactionProgress::More {
            age += 1;
            if age == life {
                let before = rig.view().sizes().live;
                rig = rig.reopen();
                assert_eq!(rig.view().sizes().live, before);
                assert_eq!(rig.view().compact_revision(), Some(Revision(31)));
                (life, age) = (life + 1, 0);
            }
        }
        assert!(life > 3, "it died several times");
        let found = (rig.stored(), rig.view().sizes().live, rig.keys());
        assert_eq!(found, expected, "limit {limit}");
    }
}

#[test]
fn live_bytes_fall_by_what_deletion_and_compaction_free() {
    let mut rig = Rig::new();
    let empty = rig.view().sizes().live;
    for i in 0..50 {
        rig.put(&format!("{i}"), &"x".repeat(1000));
    }
    let full = rig.view().sizes().live;
    assert!(full > empty + 50_000);
    rig.delete("\0", "\0");
    rig.put("last", "");
    rig.compact(53).unwrap();
    rig.reclaim(10);
    assert!(rig.view().sizes().live < 200, "{}", rig.view().sizes().live);
    let live = rig.view().sizes().live;
    assert_eq!(rig.reopen().view().sizes().live, live);
}

#[test]
fn watchers_from_the_compacted_revision_see_it_and_from_below_are_refused() {
    let mut rig = Rig::new();
    rig.put("a", "1");
    rig.delete("a", "");
    rig.put("a", "2");
    rig.compact(3).unwrap();
    rig.reclaim(1000);
    let all = KeyRange::From(bytes(""));
    let page = rig.view().events(&all, Revision(3), usize::MAX, usize::MAX).unwrap();
    let revisions: Vec<i64> = page.batches.iter().map(|batch| batch.revision.0).collect();
    assert_eq!(revisions, [3, 4], "the deletion at the compacted revision is still there");
    let below = rig.view().events(&all, Revision(2), usize::MAX, usize::MAX);
    assert_eq!(refusal(below), ApplyError::Compacted { compact_revision: Revision(3) });
}

#[test]
fn exported_versions_are_those_that_survive_whether_deleted_yet_or_not() {
    let mut rig = Rig::new();
    rig.put("a", "1"); // 2
    rig.put("a", "2"); // 3
    rig.delete("a", ""); // 4
    rig.put("b", "1"); // 5
    rig.delete("b", ""); // 6
    rig.put("c", "1"); // 7
    let list = |rig: &Rig| -> Vec<(i64, bool)> {
        rig.view()
            .versions()
            .map(|version| version.unwrap())
            .map(|version| (version.revision.main.0, version.tombstone))
            .collect()
    };
    assert_eq!(list(&rig).len(), 6);
    rig.compact(6).unwrap();
    assert_eq!(list(&rig), [(6, true), (7, false)]);
    rig.reclaim(1);
    assert_eq!(list(&rig), [(6, true), (7, false)]);
}
