//! semantics: alarms and what they stop; members and the cluster version.

use vetch_proto::etcdserverpb::alarm_request::AlarmAction;
use vetch_proto::etcdserverpb::{
    AlarmRequest, AlarmType, CompactionRequest, Member, MemberUpdateRequest, TxnRequest,
};
use vetch_proto::vetchpb::proposal::Command;
use vetch_proto::vetchpb::{ClusterVersionSet, LeaseExpire, MemberPublish};

use super::rig::*;
use crate::command::{Entry, Response};
use crate::error::ApplyError;
use crate::types::NodeId;

fn alarm(rig: &mut Rig, action: AlarmAction, member_id: u64, kind: AlarmType) -> Vec<(u64, i32)> {
    let request = AlarmRequest { action: action.into(), member_id, alarm: kind.into() };
    match rig.propose(Command::Alarm(request)).response.unwrap() {
        Response::Alarm(response) => {
            response.alarms.iter().map(|alarm| (alarm.member_id, alarm.alarm)).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn activate_answers_the_alarm_always_and_deactivate_only_if_present() {
    use {AlarmAction as A, AlarmType as T};
    let mut rig = Rig::new();
    assert_eq!(alarm(&mut rig, A::Activate, 5, T::Nospace), [(5, 1)]);
    assert_eq!(alarm(&mut rig, A::Activate, 5, T::Nospace), [(5, 1)]);
    alarm(&mut rig, A::Activate, 4, T::Corrupt);
    assert_eq!(alarm(&mut rig, A::Get, 0, T::None), [(4, 2), (5, 1)]);
    assert_eq!(alarm(&mut rig, A::Get, 0, T::Corrupt), [(4, 2)]);
    assert_eq!(alarm(&mut rig, A::Deactivate, 4, T::Nospace), []);
    assert_eq!(alarm(&mut rig, A::Deactivate, 4, T::Corrupt), [(4, 2)]);
    let rig = &mut rig.reopen();
    assert_eq!(alarm(rig, A::Get, 0, T::None), [(5, 1)]);
    assert_eq!(alarm(rig, A::Deactivate, 5, T::Nospace), [(5, 1)]);
    assert_eq!(rig.reopen().view().alarms().iter().count(), 0);
}

#[test]
fn nospace_stops_puts_grants_and_txns_with_a_put_anywhere_but_not_what_frees_space() {
    let mut rig = Rig::new();
    rig.grant(1, 60).unwrap();
    rig.put("a", "1");
    rig.put("b", "1");
    alarm(&mut rig, AlarmAction::Activate, 1, AlarmType::Nospace);
    assert_eq!(rig.put_with(put("c", "")), Err(ApplyError::NoSpace));
    assert_eq!(rig.grant(2, 60), Err(ApplyError::NoSpace));
    let hidden =
        TxnRequest { failure: vec![txn_op(then(vec![put_op("c", "")]))], ..TxnRequest::default() };
    assert_eq!(rig.txn(hidden), Err(ApplyError::NoSpace));
    assert!(rig.txn(then(vec![get_op("a"), delete_op("a", "")])).is_ok());
    assert_eq!(rig.delete("b", ""), 1);
    rig.compact(4).unwrap();
    assert!(rig.revoke(1).response.is_ok());
    alarm(&mut rig, AlarmAction::Deactivate, 1, AlarmType::Nospace);
    rig.put("c", "");
}

#[test]
fn corrupt_stops_everything_but_alarms_and_membership_and_reads_go_on() {
    let mut rig = Rig::new();
    rig.put("a", "1");
    alarm(&mut rig, AlarmAction::Activate, 1, AlarmType::Nospace);
    alarm(&mut rig, AlarmAction::Activate, 1, AlarmType::Corrupt);
    for command in [
        Command::Put(put("c", "")),
        Command::DeleteRange(delete("a", "")),
        Command::Txn(then(vec![get_op("a")])),
        Command::Compaction(CompactionRequest { revision: 2, physical: false }),
        Command::LeaseExpire(LeaseExpire { ids: vec![1], term: TERM }),
    ] {
        assert_eq!(rig.propose(command).response, Err(ApplyError::Corrupt));
    }
    assert_eq!(rig.grant(2, 60), Err(ApplyError::Corrupt));
    assert_eq!(rig.get("a").unwrap().value, "1");
    let publish = MemberPublish { member: Some(member(1, "x")) };
    assert!(rig.propose(Command::MemberPublish(publish)).response.is_ok());
    alarm(&mut rig, AlarmAction::Deactivate, 1, AlarmType::Corrupt);
    assert_eq!(rig.put_with(put("c", "")), Err(ApplyError::NoSpace));
}

#[test]
fn an_alarm_number_without_a_meaning_lists_nothing() {
    let mut rig = Rig::new();
    alarm(&mut rig, AlarmAction::Activate, 1, AlarmType::Nospace);
    let request = AlarmRequest { action: AlarmAction::Get.into(), member_id: 1, alarm: 77 };
    match rig.propose(Command::Alarm(request)).response.unwrap() {
        Response::Alarm(response) => assert_eq!(response.alarms, []),
        other => panic!("{other:?}"),
    }
}

#[test]
fn unknown_alarm_numbers_change_nothing() {
    let mut rig = Rig::new();
    let request = AlarmRequest { action: 1, member_id: 1, alarm: 77 };
    assert!(rig.propose(Command::Alarm(request)).response.is_ok());
    let request = AlarmRequest { action: 99, member_id: 1, alarm: 1 };
    assert!(rig.propose(Command::Alarm(request)).response.is_ok());
    assert_eq!(rig.view().alarms().iter().count(), 0);
}

fn member(id: u64, name: &str) -> Member {
    Member {
        id,
        name: name.to_owned(),
        peer_ur_ls: vec![format!("http://{name}:2380")],
        client_ur_ls: vec![format!("http://{name}:2379")],
        is_learner: false,
    }
}

#[test]
fn publishing_does_not_promote_and_a_removed_id_never_comes_back() {
    let mut rig = Rig::new();
    let learner = Member { is_learner: true, name: String::new(), ..member(2, "b") };
    let change = |member: Option<Member>, removed: Option<u64>| Entry::Membership {
        encoded: bytes("voters"),
        member,
        removed: removed.map(NodeId),
    };
    rig.entry(change(Some(learner), None));
    let publish = |member: Member| Command::MemberPublish(MemberPublish { member: Some(member) });
    rig.propose(publish(Member { peer_ur_ls: Vec::new(), ..member(2, "renamed") }));
    let view = rig.view();
    let known = view.members().get(NodeId(2)).unwrap();
    assert_eq!((known.name.as_str(), known.is_learner), ("renamed", true));
    assert_eq!(known.peer_ur_ls, ["http://b:2380"]);
    let update = |id| MemberUpdateRequest { id, peer_ur_ls: vec!["http://moved:2380".to_owned()] };
    rig.propose(Command::MemberUpdate(update(2)));
    rig.propose(Command::MemberUpdate(update(77)));
    assert_eq!(rig.view().members().get(NodeId(2)).unwrap().peer_ur_ls, ["http://moved:2380"]);
    let mut rig = rig.reopen();
    let view = rig.view();
    assert_eq!(view.members().iter().count(), 1, "an update adds nobody");
    let known = view.members().get(NodeId(2)).unwrap();
    assert_eq!((known.name.as_str(), known.is_learner), ("renamed", true));
    assert_eq!(known.peer_ur_ls, ["http://moved:2380"]);
    rig.entry(change(None, Some(2)));
    rig.propose(publish(member(2, "zombie")));
    rig.entry(change(Some(member(2, "zombie")), None));
    for rig in [&rig, &rig.reopen()] {
        assert_eq!(rig.view().members().iter().count(), 0);
        assert!(rig.view().members().is_removed(NodeId(2)));
    }
}

#[test]
fn the_cluster_version_and_members_survive_a_restart() {
    let mut rig = Rig::new();
    assert_eq!(rig.view().cluster_version(), None);
    let version = ClusterVersionSet { version: "3.7.0".to_owned() };
    rig.propose(Command::ClusterVersionSet(version));
    for (id, name) in [(9, "c"), (3, "a")] {
        let publish = MemberPublish { member: Some(member(id, name)) };
        rig.propose(Command::MemberPublish(publish));
    }
    let rig = rig.reopen();
    assert_eq!(rig.view().cluster_version(), Some("3.7.0"));
    let names: Vec<String> =
        rig.view().members().iter().map(|member| member.name.clone()).collect();
    assert_eq!(names, ["a", "c"]);
}
