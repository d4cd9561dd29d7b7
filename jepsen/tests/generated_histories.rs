//! Histories that are right by construction pass every checker, also after a trip through a file.

use proptest::prelude::*;
use vetch_jepsen::history::{Operation, read_lines, write_lines};
use vetch_jepsen::linearizability::{Linearizability, check_by_key, check_store};
use vetch_jepsen::persisted::Replay;
use vetch_jepsen::simulator::{Run, Shape, run};
use vetch_jepsen::{durability, serializable, watch};

fn judge(run: &Run) -> Result<(), TestCaseError> {
    let whole = check_store(&run.history, Some(&run.log));
    prop_assert!(whole.holds(), "{whole}");
    let stale = serializable::check(&run.history, &Replay::new(&run.log));
    prop_assert!(stale.is_empty(), "{stale:?}");
    let watches = watch::check(&run.watches, &run.log);
    prop_assert!(watches.is_empty(), "{watches:?}");
    let durable = durability::check(&run.history, &run.watches, &run.log, &run.final_keys);
    prop_assert!(durable.is_empty(), "{durable:?}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn multi_key_histories_pass(seed: u64, clients in 1..9_u32, keys in 1..6_u32) {
        judge(&run(Shape { seed, clients, keys, ..Shape::default() }))?;
    }

    #[test]
    fn single_key_histories_pass_key_by_key(seed: u64, clients in 1..7_u32, keys in 1..6_u32) {
        let shape = Shape { multi_key: false, lost_answers: 5, ..Shape::default() };
        let run = run(Shape { seed, clients, keys, ..shape });
        judge(&run)?;
        for persisted in [None, Some(&run.log)] {
            let verdict = check_by_key(&run.history, persisted);
            prop_assert!(verdict.holds(), "{verdict}");
        }
    }

    #[test]
    fn small_histories_pass_without_the_persisted_events(seed: u64) {
        let run = run(Shape { seed, operations: 40, clients: 4, ..Shape::default() });
        let verdict = check_store(&run.history, None);
        prop_assert!(verdict.holds(), "{verdict}");
    }
}

#[test]
fn ten_thousand_operations_are_decided() {
    let shape = Shape { seed: 7, operations: 10_000, clients: 10, keys: 8, ..Shape::default() };
    let whole = run(shape);
    assert!(check_store(&whole.history, Some(&whole.log)).holds());

    let by_key = run(Shape { multi_key: false, lost_answers: 1, ..shape });
    let verdict = check_by_key(&by_key.history, None);
    assert!(
        matches!(verdict, Linearizability::Linearizable { calls } if calls > 9_000),
        "{verdict}"
    );
}

#[test]
fn a_history_survives_its_file() {
    let run = run(Shape::default());
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("operations.jsonl");
    write_lines(&path, &run.history).expect("written");
    assert_eq!(read_lines::<Operation>(&path).expect("read"), run.history);

    std::fs::write(&path, "{}\n").expect("written");
    let error = read_lines::<Operation>(&path).expect_err("not an operation");
    assert!(error.to_string().contains("operations.jsonl:1"), "{error}");
}
