//! semantics: `HashKV`. The numbers were measured on etcd 3.7.1 with the same requests through etcdctl.

use std::ops::Bound;

use super::rig::*;
use crate::engine::mem::MemEngine;
use crate::engine::{Batch, Change, Engine, Family, Order};
use crate::error::{ApplyError, Fatal, ReadError};
use crate::schema::version::VersionRecord;
use crate::types::Revision;
use crate::view::HashKv;

fn hash(rig: &Rig, revision: i64) -> HashKv {
    rig.view().hash_kv(Revision(revision)).unwrap()
}

fn etcd(hash: u32, compact_revision: i64, hash_revision: i64) -> HashKv {
    HashKv { hash, compact_revision, hash_revision: Revision(hash_revision) }
}

fn compact(rig: &mut Rig, revision: i64) {
    rig.compact(revision).unwrap();
    assert_eq!(rig.reclaim(2), Revision(revision));
}

#[test]
fn hashes_equal_etcds_through_compactions() {
    let mut rig = Rig::new();
    assert_eq!(hash(&rig, 0), etcd(1_084_519_789, -1, 1));
    rig.put("a", "1");
    rig.put("b", "2");
    rig.put("a", "3");
    rig.delete("b", "");
    rig.put("c", "");
    let mut txn = when(value_is("a", "3"));
    txn.success = vec![put_op("d", "x"), put_op("e", "y"), delete_op("c", "")];
    rig.txn(txn).unwrap();
    assert_eq!(hash(&rig, 0), etcd(4_187_747_589, -1, 7));
    assert_eq!(hash(&rig, 4), etcd(2_069_675_932, -1, 4));
    assert_eq!(hash(&rig, 5), etcd(1_125_682_900, -1, 5));

    compact(&mut rig, 4);
    assert_eq!(hash(&rig, 0), etcd(1_100_726_427, 4, 7));
    assert_eq!(hash(&rig, 4), etcd(2_069_675_932, -1, 4), "taken by the compaction");
    assert_eq!(hash(&rig, 5), etcd(1_468_967_122, 4, 5));

    rig.put("a", "9");
    rig.delete("a", "");
    assert_eq!(hash(&rig, 0), etcd(1_756_428_253, 4, 9));
    compact(&mut rig, 7);
    assert_eq!(hash(&rig, 0), etcd(105_533_285, 7, 9));
    assert_eq!(hash(&rig, 7), etcd(1_100_726_427, 4, 7));
    assert_eq!(hash(&rig, 4), etcd(2_069_675_932, -1, 4), "below the compacted revision now");
    assert_eq!(hash(&rig, 8), etcd(1_288_099_512, 7, 8));
    let below = rig.view().hash_kv(Revision(6));
    assert_eq!(refusal(below), ApplyError::Compacted { compact_revision: Revision(7) });
    let above = rig.view().hash_kv(Revision(10));
    assert_eq!(refusal(above), ApplyError::FutureRevision { current: Revision(9) });

    rig.delete("\0", "\0");
    assert_eq!(hash(&rig, 0), etcd(2_782_889_054, 7, 10));
    assert_eq!(hash(&rig, 9), etcd(105_533_285, 7, 9));
    compact(&mut rig, 10);
    assert_eq!(hash(&rig, 10), etcd(1_051_677_012, 7, 10));
    rig.put("z", "1");
    assert_eq!(hash(&rig, 0), etcd(974_378_710, 10, 11));
    assert_eq!(hash(&rig, 10), etcd(1_051_677_012, 7, 10));
    rig.delete("z", "");
    assert_eq!(hash(&rig, 0), etcd(1_756_052_931, 10, 12));
}

#[test]
fn the_hash_does_not_depend_on_how_far_deletion_is() {
    let mut rig = Rig::new();
    for i in 0..40 {
        rig.put(&format!("{}", i % 7), &format!("{i}"));
        if i % 5 == 0 {
            rig.delete(&format!("{}", i % 7), "");
        }
    }
    rig.compact(20).unwrap();
    let before: Vec<HashKv> = (21..30).map(|revision| hash(&rig, revision)).collect();
    let mut compactor = rig.machine.compactor();
    for _ in 0..60 {
        compactor.step(1).unwrap();
        let now: Vec<HashKv> = (21..30).map(|revision| hash(&rig, revision)).collect();
        assert_eq!(now, before);
    }
}

#[test]
fn only_the_last_ten_compactions_keep_their_hash_also_over_a_restart() {
    let mut rig = Rig::new();
    for i in 0..20 {
        rig.put("a", &format!("{i}"));
    }
    for revision in 3..=15 {
        compact(&mut rig, revision);
    }
    let rig = rig.reopen();
    for revision in 3..=5 {
        assert!(rig.view().hash_kv(Revision(revision)).is_err());
    }
    for revision in 6..=15 {
        assert_eq!(hash(&rig, revision).compact_revision, revision - 1);
    }
}

#[test]
fn compaction_to_zero_leaves_no_hash_behind() {
    let mut rig = Rig::new();
    rig.put("a", "1");
    compact(&mut rig, 0);
    let first = hash(&rig, 0);
    rig.put("a", "2");
    assert_ne!(hash(&rig, 0).hash, first.hash);
    assert_eq!(hash(&rig, 0).hash_revision, Revision(3));
}

#[test]
fn the_hash_is_of_what_is_stored() {
    let mut rig = Rig::new();
    rig.put("a", "1");
    rig.put("b", "1");
    rig.delete("a", "");
    let whole = hash(&rig, 0);
    let stored = |engine: &MemEngine, key: &str| {
        let versions =
            engine.scan(Family::Versions, (Bound::Unbounded, Bound::Unbounded), Order::Ascending);
        let mut found = versions.map(Result::unwrap);
        found.find(|(engine_key, _)| engine_key.starts_with(key.as_bytes())).unwrap()
    };

    // A whole record of another value, as no flipped bit makes it.
    let (engine_key, value) = stored(&rig.engine, "b");
    let (record, _) = VersionRecord::decode(&engine_key, &value).unwrap();
    let other = VersionRecord { value: bytes("2"), ..record };
    let (key, value, _) = other.encode(b"b");
    let changes = vec![Change::Put { family: Family::Versions, key, value }];
    rig.engine.apply(Batch { changes, applied: None }).unwrap();
    assert_ne!(hash(&rig, 0), whole);
    assert_eq!(hash(&rig, 2).hash_revision, Revision(2), "before it, all is well");

    let changes = vec![Change::Delete { family: Family::Versions, key: engine_key }];
    rig.engine.apply(Batch { changes, applied: None }).unwrap();
    let lost = rig.view().hash_kv(Revision(0)).unwrap_err();
    assert!(matches!(lost, ReadError::Fatal(Fatal::Corrupt { .. })), "{lost:?}");
}
