//! semantics: leases.

use vetch_proto::etcdserverpb::{LeaseCheckpoint, LeaseCheckpointRequest};
use vetch_proto::vetchpb::LeaseExpire;
use vetch_proto::vetchpb::proposal::Command;

use super::rig::*;
use crate::command::{LeaseChange, Response};
use crate::error::ApplyError;
use crate::types::{LeaseId, Revision};

fn keys_of(rig: &Rig, lease: i64) -> Vec<String> {
    let view = rig.view();
    let keys = &view.leases().get(LeaseId(lease)).unwrap().keys;
    keys.iter().map(|key| String::from_utf8(key.to_vec()).unwrap()).collect()
}

fn expire(rig: &mut Rig, ids: &[i64], term: u64) -> crate::command::Applied {
    rig.propose(Command::LeaseExpire(LeaseExpire { ids: ids.to_vec(), term }))
}

#[test]
fn ids_may_be_negative_and_are_granted_once() {
    let mut rig = Rig::new();
    assert_eq!(rig.grant(-5, 9), Ok(Response::LeaseGrant { id: LeaseId(-5), ttl: 9 }));
    assert_eq!(rig.grant(-5, 9), Err(ApplyError::LeaseExists(LeaseId(-5))));
    assert!(rig.grant(0, 9).is_err());
}

#[test]
fn a_put_moves_detaches_or_keeps_the_lease_and_a_delete_detaches() {
    let mut rig = Rig::new();
    rig.grant(1, 60).unwrap();
    rig.grant(2, 60).unwrap();
    assert_eq!(rig.put_with(leased("a", 3)), Err(ApplyError::LeaseNotFound(LeaseId(3))));
    rig.put_with(leased("a", 1)).unwrap();
    rig.put_with(leased("b", 1)).unwrap();
    assert_eq!(keys_of(&rig, 1), ["a", "b"]);
    rig.put_with(leased("a", 2)).unwrap();
    assert_eq!((keys_of(&rig, 1), keys_of(&rig, 2)), (vec!["b".into()], vec!["a".into()]));
    let mut keep = put("a", "x");
    keep.ignore_lease = true;
    rig.put_with(keep).unwrap();
    assert_eq!(keys_of(&rig, 2), ["a"]);
    rig.put("a", "y");
    assert!(keys_of(&rig, 2).is_empty());
    rig.delete("b", "");
    assert!(keys_of(&rig, 1).is_empty());
}

#[test]
fn a_revoke_deletes_the_keys_in_one_revision_in_ascending_order() {
    let mut rig = Rig::new();
    rig.grant(1, 60).unwrap();
    for key in ["c", "a", "b"] {
        rig.put_with(leased(key, 1)).unwrap();
    }
    rig.put("z", "");
    let applied = rig.revoke(1);
    assert_eq!((applied.events.len(), applied.revision), (1, Revision(6)));
    let keys: Vec<_> = applied.events[0].events.iter().map(|event| event.key().clone()).collect();
    assert_eq!(keys, ["a", "b", "c"]);
    assert_eq!(applied.lease_changes, [LeaseChange::Revoked { id: LeaseId(1) }]);
    assert_eq!(rig.keys(), ["z"]);
    assert_eq!(rig.revoke(1).response, Err(ApplyError::LeaseNotFound(LeaseId(1))));
}

#[test]
fn a_revoke_without_keys_leaves_the_revision() {
    let mut rig = Rig::new();
    rig.grant(1, 60).unwrap();
    let applied = rig.revoke(1);
    assert_eq!((applied.response, applied.revision), (Ok(Response::LeaseRevoke), Revision(1)));
    assert!(applied.events.is_empty());
}

#[test]
fn an_expiry_takes_one_revision_per_lease_with_keys_and_skips_unknown_ones() {
    let mut rig = Rig::new();
    for id in [1, 2, 3] {
        rig.grant(id, 60).unwrap();
    }
    for (key, id) in [("a", 1), ("b", 1), ("c", 3)] {
        rig.put_with(leased(key, id)).unwrap();
    }
    let applied = expire(&mut rig, &[3, 9, 2, 1], TERM);
    assert_eq!(applied.response, Ok(Response::LeaseExpire { expired: 3 }));
    let revisions: Vec<i64> = applied.events.iter().map(|batch| batch.revision.0).collect();
    assert_eq!(revisions, [5, 6]);
    assert_eq!(applied.events[0].events[0].key(), "c");
    assert_eq!(applied.revision, Revision(6));
    assert!(rig.view().leases().is_empty() && rig.keys().is_empty());
}

#[test]
fn an_expiry_decided_in_another_term_revokes_nothing() {
    let mut rig = Rig::new();
    rig.grant(1, 60).unwrap();
    assert_eq!(expire(&mut rig, &[1], TERM - 1).response, Err(ApplyError::StaleTerm));
    assert_eq!(rig.view().leases().len(), 1);
}

#[test]
fn checkpoints_record_the_remaining_time_and_skip_unknown_leases() {
    let mut rig = Rig::new();
    rig.grant(1, 600).unwrap();
    let checkpoints = vec![
        LeaseCheckpoint { id: 9, remaining_ttl: 1 },
        LeaseCheckpoint { id: 1, remaining_ttl: 250 },
    ];
    let applied = rig.propose(Command::LeaseCheckpoint(LeaseCheckpointRequest { checkpoints }));
    assert_eq!(applied.response, Ok(Response::LeaseCheckpoint));
    let change = LeaseChange::Checkpointed { id: LeaseId(1), remaining_ttl: 250 };
    assert_eq!(applied.lease_changes, [change]);
    for rig in [&rig, &rig.reopen()] {
        let view = rig.view();
        let lease = view.leases().get(LeaseId(1)).unwrap();
        assert_eq!((lease.ttl, lease.remaining_ttl), (600, 250));
    }
}

#[test]
fn leases_and_their_keys_survive_a_restart() {
    let mut rig = Rig::new();
    rig.grant(i64::MIN, 60).unwrap();
    rig.grant(8, 61).unwrap();
    rig.grant(9, 61).unwrap();
    rig.revoke(9);
    rig.put_with(leased("a", 8)).unwrap();
    rig.put_with(leased("b", 8)).unwrap();
    rig.delete("b", "");
    let rig = rig.reopen();
    let ids: Vec<i64> = rig.view().leases().iter().map(|lease| lease.id.0).collect();
    assert_eq!(ids, [i64::MIN, 8]);
    assert_eq!(keys_of(&rig, 8), ["a"]);
}
