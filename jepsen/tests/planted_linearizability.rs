//! Answers that no sequential store could give are refused, and the explanation names them.

use vetch_jepsen::history::{Answer, KeyValue, Op, Operation, Outcome, Response, Revision};
use vetch_jepsen::linearizability::{Linearizability, check_by_key, check_store};
use vetch_jepsen::persisted::Replay;
use vetch_jepsen::serializable;
use vetch_jepsen::simulator::{Run, Shape, run};

fn good(seed: u64) -> Run {
    run(Shape { seed, multi_key: false, keys: 2, ..Shape::default() })
}

fn response(operation: &mut Operation) -> &mut Response {
    match &mut operation.outcome {
        Outcome::Ok(response) => response,
        other @ (Outcome::Fail(_) | Outcome::Unknown(_)) => panic!("not answered: {other:?}"),
    }
}

fn kvs(operation: &mut Operation) -> &mut Vec<KeyValue> {
    let Answer::Range { kvs, .. } = &mut response(operation).answer else { panic!("not a read") };
    kvs
}

/// A fresh read in the later part of the run that found its key.
fn late_read(run: &Run) -> usize {
    let is_read = |operation: &Operation| {
        let found = operation.response().is_some_and(
            |response| matches!(&response.answer, Answer::Range { kvs, .. } if kvs.len() == 1),
        );
        found && !operation.op.is_replayed_read()
    };
    let from = run.history.len() / 2;
    from + run.history[from..].iter().position(is_read).expect("half a run has one")
}

/// Every way of checking must refuse.
fn refused(run: &Run) -> Vec<Linearizability> {
    let verdicts = vec![
        check_store(&run.history, Some(&run.log)),
        check_by_key(&run.history, Some(&run.log)),
        check_by_key(&run.history, None),
    ];
    for verdict in &verdicts {
        assert!(matches!(verdict, Linearizability::Violated { .. }), "{verdict}");
    }
    verdicts
}

#[test]
fn a_stale_read() {
    for seed in 0..10 {
        let mut run = good(seed);
        let at = late_read(&run);
        let Op::Range(range) = &run.history[at].op else { panic!("not a read") };
        let range = range.range.clone();
        // The very first state, header included: a member that had not caught up.
        let operation = &mut run.history[at];
        response(operation).revision = Revision(3);
        let old = Replay::new(&run.log).range_at(&range, Revision(3));
        response(operation).answer =
            Answer::Range { count: i64::try_from(old.len()).expect("few"), kvs: old };
        refused(&run);
    }
}

#[test]
fn a_read_of_a_value_nobody_wrote() {
    for seed in 0..10 {
        let mut run = good(seed);
        let at = late_read(&run);
        kvs(&mut run.history[at])[0].value = "made up".into();
        let id = run.history[at].id;
        for verdict in refused(&run) {
            let text = verdict.to_string();
            assert!(text.contains("made up"), "{text}");
            assert!(text.contains(&format!("operation {id} ")), "{text}");
        }
    }
}

#[test]
fn a_read_that_misses_an_acknowledged_write() {
    for seed in 0..10 {
        let mut run = good(seed);
        let at = late_read(&run);
        let header = response(&mut run.history[at]).revision;
        response(&mut run.history[at]).answer = Answer::Range { kvs: Vec::new(), count: 0 };
        assert!(header > Revision(1));
        refused(&run);
    }
}

#[test]
fn a_version_that_skips() {
    for seed in 0..10 {
        let mut run = good(seed);
        let at = late_read(&run);
        kvs(&mut run.history[at])[0].version += 40;
        refused(&run);
    }
}

#[test]
fn a_compare_that_should_have_failed() {
    for seed in 0..20 {
        let mut run = good(seed);
        let failed = run.history.iter_mut().find(|operation| {
            matches!(
                operation.response().map(|response| &response.answer),
                Some(Answer::Txn { succeeded: false, .. })
            )
        });
        let Some(operation) = failed else { continue };
        response(operation).answer =
            Answer::Txn { succeeded: true, answers: vec![Answer::Put { prev: None }] };
        let verdict = check_store(&run.history, Some(&run.log));
        assert!(!verdict.holds(), "{verdict}");
        assert!(!check_by_key(&run.history, None).holds());
        return;
    }
    panic!("no transaction failed in any run");
}

#[test]
fn two_writes_with_one_revision() {
    for seed in 0..10 {
        let mut run = good(seed);
        let writes: Vec<usize> = (0..run.history.len())
            .filter(|&at| {
                matches!(run.history[at].op, Op::Put(_)) && run.history[at].response().is_some()
            })
            .collect();
        let first = response(&mut run.history[writes[4]]).revision;
        response(&mut run.history[writes[5]]).revision = first;
        assert!(!check_store(&run.history, Some(&run.log)).holds());
    }
}

#[test]
fn half_of_a_multi_key_transaction_read() {
    let mut planted = 0;
    for seed in 0..20 {
        let mut run = run(Shape { seed, keys: 2, ..Shape::default() });
        let torn = run.history.iter_mut().find(|operation| {
            matches!(operation.response().map(|response| &response.answer),
                Some(Answer::Range { kvs, .. }) if kvs.len() > 2)
                && !operation.op.is_replayed_read()
        });
        let Some(operation) = torn else { continue };
        kvs(operation).remove(1);
        planted += 1;
        assert!(!check_store(&run.history, Some(&run.log)).holds());
        assert!(matches!(
            check_by_key(&run.history, None),
            Linearizability::NotPartitionable { .. }
        ));
    }
    assert!(planted > 5);
}

#[test]
fn a_serializable_read_of_no_state_the_store_was_in() {
    let mut planted = 0;
    for seed in 0..20 {
        let mut run = good(seed);
        let replay = Replay::new(&run.log);
        assert_eq!(serializable::check(&run.history, &replay), []);
        let read = run.history.iter_mut().find(|operation| {
            operation.op.is_replayed_read()
                && matches!(operation.response().map(|response| &response.answer),
                    Some(Answer::Range { kvs, .. }) if kvs.len() == 1)
        });
        let Some(operation) = read else { continue };
        kvs(operation)[0].mod_revision.0 += 1;
        let id = operation.id;
        let violations = serializable::check(&run.history, &replay);
        assert_eq!(violations.len(), 1);
        assert_eq!(violations[0].rule, serializable::Rule::NeverAState);
        assert!(violations[0].evidence.contains(&format!("operation {id} ")));

        response(&mut run.history[usize::try_from(id).expect("small")]).revision =
            Revision(1_000_000);
        let violations = serializable::check(&run.history, &replay);
        assert_eq!(violations[0].rule, serializable::Rule::FutureRevision);
        planted += 1;
    }
    assert!(planted > 5);
}
