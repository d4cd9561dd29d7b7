//! Each step oracle is shown what it must not let pass, and the same without the fault.

use std::time::Duration;

use openraft_rt::AsyncRuntime;
use openraft_rt_sim::SimRuntime;
use vetch_proto::vetchpb::peer_reply::Reply;
use vetch_proto::vetchpb::peer_request::Request;
use vetch_proto::vetchpb::{
    AppendReply, AppendRequest, LeaseExpire, LogPosition, Matched, PeerReply, PeerRequest,
    PeerVote, VoteReply, VoteRequest, append_reply,
};
use vetch_storage::{LeaseChange, LogId, LogIndex, Response, Revision};

use vetch_raft::types::Vote;

use super::*;

const ONE: NodeId = NodeId(1);

/// What the oracles say after `work`.
fn broken(work: impl AsyncFnOnce(Oracle)) -> Vec<String> {
    SimRuntime::with_seed(0).block_on(async {
        let oracle = Oracle::new(Trace::default(), Coverage::default());
        work(oracle.clone()).await;
        oracle.violations()
    })
}

fn entry(term: u64, index: u64, payload: u8) -> bytes::Bytes {
    [&term.to_le_bytes()[..], &index.to_le_bytes(), &[payload]].concat().into()
}

fn append(term: u64, leader: u64, prev: u64, entries: Vec<bytes::Bytes>) -> AppendRequest {
    AppendRequest {
        hello: None,
        vote: Some(PeerVote { term, candidate: leader, committed: true }),
        prev: Some(LogPosition { term, index: prev }),
        entries,
        commit: None,
    }
}

fn matched(term: u64, index: u64) -> AppendReply {
    let upto = Some(LogPosition { term, index });
    let outcome = Some(append_reply::Outcome::Matched(Matched { upto }));
    AppendReply { instance: 1, outcome, ..AppendReply::default() }
}

fn vote(term: u64, candidate: u64) -> (PeerRequest, PeerReply) {
    let vote = Some(PeerVote { term, candidate, committed: false });
    let asked = VoteRequest { vote, last: None, transfer: false };
    let given = VoteReply { vote, granted: true, last: None };
    let request = PeerRequest { hello: None, request: Some(Request::Vote(asked)) };
    (request, PeerReply { instance: 1, reply: Some(Reply::Vote(given)) })
}

fn applied(term: u64, index: u64, revision: i64) -> Applied {
    Applied {
        id: LogId { term: Term(term), index: LogIndex(index) },
        revision: Revision(revision),
        response: Ok(Response::None),
        events: Vec::new(),
        lease_changes: Vec::new(),
    }
}

fn take(oracle: &Oracle, member: u64, applied: &Applied) {
    let mut guard = oracle.shared.inner.lock();
    let found = guard.applies.entry(member, applied, hash_of(applied), 0);
    guard.violations.extend(found);
}

#[test]
fn two_leaders_in_one_term() {
    let beats = |second| {
        broken(async move |oracle| {
            oracle.append_heard(ONE, &append(3, 2, 7, vec![]));
            oracle.append_heard(ONE, &append(3, second, 7, vec![]));
        })
    };
    assert_eq!(beats(2), [""; 0]);
    assert!(beats(4)[0].contains("two leaders in term 3"));
}

#[test]
fn two_votes_in_one_term() {
    let votes = |second| {
        broken(async move |oracle| {
            for candidate in [2, second] {
                let (request, reply) = vote(3, candidate);
                oracle.answered(ONE, &request, &reply);
            }
        })
    };
    assert_eq!(votes(2), [""; 0]);
    assert!(votes(4)[0].contains("voted twice"));
}

#[test]
fn a_vote_that_is_not_found_after_a_crash() {
    let found = broken(async |oracle| {
        let (request, reply) = vote(3, 2);
        oracle.answered(ONE, &request, &reply);
        oracle.log_found(ONE, None, LogIndex(0));
    });
    assert!(found[0].contains("voted for 2 in term 3"), "{found:?}");
}

#[test]
fn an_acknowledged_entry_that_is_not_found_after_a_crash() {
    let found = broken(async |oracle| {
        oracle.append_heard(ONE, &append(3, 2, 7, vec![entry(3, 8, 1)]));
        oracle.append_answered(ONE, 3, &matched(3, 8));
        oracle.log_found(ONE, None, LogIndex(0));
    });
    assert!(found[0].contains("said to have entry 8"), "{found:?}");
    let found = broken(async |oracle| {
        oracle.append_heard(ONE, &append(3, 2, 7, vec![entry(3, 8, 1)]));
        oracle.append_answered(ONE, 3, &matched(3, 8));
        // A newer leader may have had it dropped.
        oracle.append_heard(ONE, &append(4, 3, 7, vec![]));
        oracle.log_found(ONE, None, LogIndex(0));
    });
    assert_eq!(found, [""; 0]);
}

#[test]
fn what_a_peers_state_or_the_terms_leader_took_the_place_of_is_not_missed() {
    let found = |installed| {
        broken(async move |oracle| {
            oracle.append_heard(ONE, &append(3, 2, 7, vec![entry(3, 8, 1)]));
            oracle.append_answered(ONE, 3, &matched(3, 8));
            oracle.log_found(ONE, None, LogIndex(installed));
        })
    };
    // Entry 8 is the ninth.
    assert_eq!(found(9), [""; 0]);
    assert!(found(8)[0].contains("said to have entry 8"));
    let voted = |found_vote: Vote| {
        broken(async move |oracle| {
            let (request, reply) = vote(3, 2);
            oracle.answered(ONE, &request, &reply);
            let log = Listing {
                vote: Some(found_vote),
                purged: None,
                last: None,
                entries: vec![],
                leftover: 0,
            };
            oracle.log_found(ONE, Some(&log), LogIndex(0));
        })
    };
    assert_eq!(voted(Vote::new_committed(3, 5)), [""; 0]);
    assert_eq!(voted(Vote::new(3, 2)), [""; 0]);
    assert!(voted(Vote::new(3, 5))[0].contains("voted for 2 in term 3"));
}

#[test]
fn entries_that_differ_or_leave_a_gap() {
    let sent = |second: AppendRequest| {
        broken(async move |oracle| {
            oracle.append_heard(ONE, &append(3, 2, 7, vec![entry(3, 8, 1)]));
            oracle.append_heard(NodeId(3), &second);
        })
    };
    assert_eq!(sent(append(3, 2, 7, vec![entry(3, 8, 1)])), [""; 0]);
    assert!(sent(append(3, 2, 7, vec![entry(3, 8, 2)]))[0].contains("two different entries 8"));
    assert!(sent(append(3, 2, 7, vec![entry(3, 9, 2)]))[0].contains("is sent as entry 8"));
}

#[test]
fn a_committed_entry_in_whose_place_another_is_sent() {
    let found = broken(async |oracle| {
        take(&oracle, 1, &applied(2, 9, 5));
        oracle.append_heard(ONE, &append(4, 2, 7, vec![entry(4, 8, 1)]));
    });
    assert!(found[0].contains("was committed"), "{found:?}");
}

#[test]
fn an_entry_that_does_something_else_on_another_member() {
    let second = |other: Applied| {
        broken(async move |oracle| {
            take(&oracle, 1, &applied(2, 9, 5));
            take(&oracle, 2, &other);
        })
    };
    assert_eq!(second(applied(2, 9, 5)), [""; 0]);
    assert!(second(applied(2, 9, 6))[0].contains("did something else"));
    assert!(second(applied(3, 9, 5))[0].contains("of term 2 on member 1"));
}

#[test]
fn a_revision_that_does_not_follow() {
    let second = |revision| {
        broken(async move |oracle| {
            take(&oracle, 1, &applied(2, 9, 5));
            take(&oracle, 1, &applied(2, 10, revision));
        })
    };
    assert_eq!(second(5), [""; 0]);
    assert!(second(6)[0].contains("takes the revision from 5 to 6"));
}

#[test]
fn digests_that_differ_at_one_position() {
    let at = LogId { term: Term(1), index: LogIndex(4) };
    let second = |digest| {
        broken(async move |oracle| {
            let mut guard = oracle.shared.inner.lock();
            for (member, digest) in [(1, 7), (2, digest)] {
                let found = guard.applies.state(member, at, digest, Revision(3));
                guard.violations.extend(found);
            }
        })
    };
    assert_eq!(second(7), [""; 0]);
    assert!(second(8)[0].contains("digest"));
}

#[test]
fn a_lease_that_ends_before_its_time() {
    let ended_after = |seconds| {
        broken(async move |oracle| {
            let id = LeaseId(9);
            oracle.lease_promised(id, 10, Duration::ZERO);
            SimRuntime::sleep(Duration::from_secs(seconds)).await;
            let mut end = applied(1, 1, 1);
            end.lease_changes = vec![LeaseChange::Revoked { id }];
            oracle.command(&Command::LeaseExpire(LeaseExpire { ids: vec![9], term: 1 }), &end);
            let found = oracle.shared.inner.lock().leases.changed(&end.lease_changes);
            oracle.report(found);
        })
    };
    assert_eq!(ended_after(10), [""; 0]);
    assert!(ended_after(8)[0].contains("lease 9 was promised"));
}

#[test]
fn a_renewal_of_a_lease_that_had_ended_already() {
    let found = broken(async |oracle| {
        let id = LeaseId(9);
        let mut end = applied(1, 1, 1);
        end.lease_changes = vec![LeaseChange::Revoked { id }];
        SimRuntime::sleep(Duration::from_secs(5)).await;
        oracle.command(&Command::LeaseExpire(LeaseExpire { ids: vec![9], term: 1 }), &end);
        oracle.lease_promised(id, 10, Duration::from_secs(4));
    });
    assert!(found[0].contains("lease 9 was promised"), "{found:?}");
}

#[test]
fn a_member_without_its_disks_that_answers_as_itself() {
    let found = |is_wiped: bool| {
        broken(async move |oracle| {
            if is_wiped {
                oracle.wiped(ONE);
            }
            let (request, reply) = vote(3, 2);
            oracle.answered(ONE, &request, &reply);
            oracle.append_answered(ONE, 3, &matched(3, 8));
        })
    };
    assert_eq!(found(false), [""; 0]);
    let found = found(true);
    assert!(found[0].contains("has lost its disks, and votes"), "{found:?}");
    assert!(found[1].contains("has lost its disks, and takes entries"), "{found:?}");
}
