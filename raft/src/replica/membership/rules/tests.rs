use super::*;

fn member(id: u64, started: bool, learner: bool) -> Member {
    let name = if started { format!("m{id}") } else { String::new() };
    let peer_ur_ls = vec![format!("http://m{id}:1")];
    Member { id, name, peer_ur_ls, is_learner: learner, ..Member::default() }
}

/// Members with ids from 1, of which so many run and are reached.
fn group(members: &Members, reachable: &[u64]) -> Group<'static> {
    let members: &'static Members = Box::leak(Box::new(members.clone()));
    let (learners, voters): (Vec<&Member>, Vec<&Member>) =
        members.iter().partition(|member| member.is_learner);
    let ids = |members: Vec<&Member>| members.into_iter().map(|member| member.id).collect();
    let matched = members.iter().map(|member| (member.id, 100)).collect();
    Group {
        members,
        voters: ids(voters),
        learners: ids(learners),
        reachable: reachable.iter().copied().collect(),
        matched,
        last: 100,
    }
}

fn table(members: &[Member]) -> Members {
    members.iter().cloned().collect()
}

fn verdict(group: &Group<'_>, change: &MemberChange) -> Option<MemberChangeError> {
    group.plan(change, MemberRules::default()).err()
}

fn add(learner: bool) -> MemberChange {
    MemberChange::Add { id: NodeId(9), peer_urls: vec!["http://m9:1".to_owned()], learner }
}

/// For each group: who has started, who is reached, and what etcd says to a further voter and
/// to the removal of member 2.
#[test]
fn the_quorum_rules_are_etcds() {
    use MemberChangeError::{NotEnoughStarted, Unhealthy};

    type Verdict = Option<MemberChangeError>;
    let cases: [(&[bool], &[u64], Verdict, Verdict); 9] = [
        (&[true], &[1], None, None),
        (&[true, true], &[1, 2], None, None),
        (&[true, true], &[1], Some(Unhealthy), None),
        (&[true, false], &[1], Some(NotEnoughStarted), None),
        (&[true, true, true], &[1, 2, 3], None, None),
        (&[true, true, true], &[1, 3], Some(Unhealthy), None),
        (&[true, true, true], &[1, 2], Some(Unhealthy), Some(Unhealthy)),
        (&[true, true, false], &[1, 2], Some(NotEnoughStarted), Some(NotEnoughStarted)),
        (&[true, true, true, true, false], &[1, 2, 3, 4], None, None),
    ];
    for (started, reachable, adding, removing) in cases {
        let ids = (1..).zip(started);
        let members: Vec<Member> = ids.map(|(id, started)| member(id, *started, false)).collect();
        let group = group(&table(&members), reachable);
        assert_eq!(verdict(&group, &add(false)), adding, "add to {started:?}, {reachable:?}");
        assert_eq!(verdict(&group, &add(true)), None, "a learner is no risk");
        if started.len() > 1 {
            let removal = MemberChange::Remove(NodeId(2));
            assert_eq!(verdict(&group, &removal), removing, "{started:?}, {reachable:?}");
        }
        let lax = MemberRules { strict: false, ..MemberRules::default() };
        assert!(group.plan(&add(false), lax).is_ok());
    }
}

#[test]
fn a_learner_is_ready_with_nine_tenths_of_the_log() {
    let members = table(&[member(1, true, false), member(2, true, true)]);
    let mut group = group(&members, &[1, 2]);
    let promote = MemberChange::Promote(NodeId(2));
    for (matched, expected) in [
        (0, Some(MemberChangeError::LearnerNotReady)),
        (89, Some(MemberChangeError::LearnerNotReady)),
        (90, None),
    ] {
        group.matched.insert(2, matched);
        assert_eq!(verdict(&group, &promote), expected, "{matched} of 100");
    }
    // Far behind in entries, it becomes a voter to clients, and votes later.
    (group.last, group.matched) = (100_000, [(1, 100_000), (2, 91_000)].into());
    let Ok(Plan::Sets { voters, learners, record }) = group.plan(&promote, MemberRules::default())
    else {
        panic!("nine tenths are enough");
    };
    assert_eq!((voters, learners, record.promoted), ([1].into(), [2].into(), 2));
    assert_eq!(group.ready_voter(), None);
}

#[test]
fn who_is_a_voter_to_clients_votes_when_it_is_near() {
    let members = table(&[member(1, true, false), member(2, false, false)]);
    let mut group = group(&members, &[1, 2]);
    (group.voters, group.learners) = ([1].into(), [2].into());
    assert_eq!(group.ready_voter(), Some(2));
    assert_eq!(group.with_voter(2), ([1, 2].into(), [].into()));
    group.matched.insert(2, 0);
    assert_eq!(group.ready_voter(), None, "it has said nothing yet");
    group.matched.insert(2, 100);
    group.reachable.remove(&2);
    assert_eq!(group.ready_voter(), None);
}

#[test]
fn the_last_voter_stays_whatever_the_rules() {
    let members = table(&[member(1, true, false), member(2, true, true)]);
    let group = group(&members, &[1, 2]);
    let lax = MemberRules { strict: false, max_learners: 9 };
    let removal = group.plan(&MemberChange::Remove(NodeId(1)), lax);
    assert_eq!(removal, Err(MemberChangeError::NotEnoughStarted));
}
