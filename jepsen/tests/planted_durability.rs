//! Each rule of durability is broken on purpose; exactly that rule must be reported.

use std::collections::BTreeSet;
use vetch_jepsen::durability::{Rule, check};
use vetch_jepsen::history::{
    Answer, Blob, Event, EventKind, KeyRange, Op, Operation, Outcome, Revision,
};
use vetch_jepsen::persisted::Replay;
use vetch_jepsen::simulator::{Run, Shape, run};

fn good(seed: u64) -> Run {
    let run = run(Shape { seed, operations: 500, ..Shape::default() });
    assert_eq!(check(&run.history, &run.watches, &run.log, &run.final_keys), []);
    run
}

fn broken(plant: impl Fn(&mut Run)) -> BTreeSet<Rule> {
    (0..10)
        .flat_map(|seed| {
            let mut run = good(seed);
            plant(&mut run);
            let violations = check(&run.history, &run.watches, &run.log, &run.final_keys);
            assert!(!violations.is_empty(), "seed {seed}: nothing noticed");
            violations
        })
        .map(|violation| violation.rule)
        .collect()
}

/// The final keys as the (altered) log tells them, so that only the planted fault is visible.
fn settle(run: &mut Run) {
    run.final_keys = Replay::new(&run.log).range_at(&KeyRange::all(), run.log.last());
}

/// An acknowledged plain put in the middle of the run, and its revision.
fn acknowledged_put(run: &Run) -> (usize, Revision) {
    let found = run.history.iter().enumerate().skip(run.history.len() / 2).find_map(|(at, op)| {
        let plain = matches!(op.op, Op::Put(_));
        op.response().filter(|_| plain).map(|response| (at, response.revision))
    });
    found.expect("half a run has one")
}

fn set_revision(operation: &mut Operation, revision: Revision) {
    match &mut operation.outcome {
        Outcome::Ok(response) => response.revision = revision,
        other @ (Outcome::Fail(_) | Outcome::Unknown(_)) => panic!("not answered: {other:?}"),
    }
}

#[test]
fn a_lost_write_is_reported_with_its_gap() {
    let found = broken(|run| {
        let (_, revision) = acknowledged_put(run);
        run.log.replace(revision, Vec::new());
        settle(run);
    });
    assert_eq!(found, BTreeSet::from([Rule::LostWrite, Rule::RevisionGap]));
}

#[test]
fn the_lost_end_of_the_log_is_reported() {
    let found = broken(|run| {
        let last = run.log.last();
        run.log.replace(last, Vec::new());
        settle(run);
    });
    assert_eq!(found, BTreeSet::from([Rule::LostWrite]));
}

#[test]
fn a_write_kept_with_another_lease_is_altered() {
    let found = broken(|run| {
        let (_, revision) = acknowledged_put(run);
        let mut events = run.log.at(revision).to_vec();
        events[0].kv.lease.0 += 1;
        run.log.replace(revision, events);
        settle(run);
    });
    assert_eq!(found, BTreeSet::from([Rule::AlteredWrite]));
}

#[test]
fn half_a_transaction_is_altered() {
    let found = broken(|run| {
        let acknowledged = |revision| {
            run.history.iter().any(|operation| {
                operation.response().is_some_and(|response| {
                    let ran = matches!(response.answer, Answer::Txn { succeeded: true, .. });
                    ran && response.revision == revision && operation.op.puts().len() == 2
                })
            })
        };
        let split = run.log.revisions().find(|&at| {
            let events = run.log.at(at);
            events.len() == 2 && events[0].kind == EventKind::Put && acknowledged(at)
        });
        let split = split.expect("an acknowledged transaction of two puts");
        let half = run.log.at(split)[..1].to_vec();
        run.log.replace(split, half);
        settle(run);
    });
    assert_eq!(found, BTreeSet::from([Rule::AlteredWrite]));
}

#[test]
fn one_revision_given_to_two_writes() {
    let found = broken(|run| {
        let (_, revision) = acknowledged_put(run);
        let next = revision.next();
        // The second write moves into the first one's revision, in the log as in its answer.
        let mut events = run.log.at(revision).to_vec();
        let moved = run.log.at(next).iter().cloned().map(|mut event: Event| {
            event.kv.mod_revision = revision;
            event
        });
        events.extend(moved);
        run.log.replace(revision, events);
        run.log.replace(next, Vec::new());
        for operation in &mut run.history {
            if operation.response().is_some_and(|response| response.revision == next) {
                set_revision(operation, revision);
            }
        }
        settle(run);
    });
    assert!(found.contains(&Rule::SharedRevision), "{found:?}");
}

#[test]
fn a_revision_that_goes_back() {
    let found = broken(|run| {
        let reads = run.history.iter().rposition(|operation| {
            let read = matches!(operation.op, Op::Range(_)) && !operation.op.is_replayed_read();
            read && operation.response().is_some_and(|response| response.revision.0 > 10)
        });
        set_revision(&mut run.history[reads.expect("a late read")], Revision(3));
    });
    assert_eq!(found, BTreeSet::from([Rule::RevisionWentBack]));
}

#[test]
fn a_revision_behind_what_a_watch_was_told() {
    let found = broken(|run| {
        let session = &mut run.watches[0];
        session.records[0].revision = Revision(1_000);
    });
    assert_eq!(found, BTreeSet::from([Rule::RevisionWentBack]));
}

#[test]
fn a_write_nobody_made() {
    let found = broken(|run| {
        let mut event = run.log.events().last().expect("some").clone();
        event.kv.value = Blob::from("made up");
        event.kv.mod_revision = run.log.last().next();
        run.log.push(event);
        settle(run);
    });
    assert_eq!(found, BTreeSet::from([Rule::PhantomWrite]));
}

#[test]
fn a_refused_write_that_took_effect() {
    let found = broken(|run| {
        let (at, _) = acknowledged_put(run);
        run.history[at].outcome = Outcome::Fail("refused".into());
    });
    assert_eq!(found, BTreeSet::from([Rule::PhantomWrite]));
}

#[test]
fn a_write_applied_again_after_a_restart() {
    let found = broken(|run| {
        let (_, revision) = acknowledged_put(run);
        let mut again = run.log.at(revision)[0].clone();
        again.kv.mod_revision = run.log.last().next();
        run.log.push(again);
        settle(run);
    });
    assert_eq!(found, BTreeSet::from([Rule::AppliedTwice]));
}

#[test]
fn keys_that_are_not_what_the_history_amounts_to() {
    let found = broken(|run| drop(run.final_keys.pop()));
    assert_eq!(found, BTreeSet::from([Rule::StateDiffersFromHistory]));
}
