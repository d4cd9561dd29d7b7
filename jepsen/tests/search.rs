//! The search against every possible order, on histories small enough to try them all.

use proptest::prelude::*;
use vetch_jepsen::linearizability::{Budget, Call, Model, Search, search};

/// One integer; `None` reads, `Some` writes. A read answers the value, a write answers 0.
struct Register;

impl Model for Register {
    type State = i64;
    type Op = Option<i64>;
    type Response = i64;

    fn initial(&self) -> i64 {
        0
    }

    fn step(&self, state: &i64, op: &Option<i64>, response: Option<&i64>) -> Result<i64, String> {
        match op {
            Some(value) => Ok(*value),
            None if response.is_none_or(|seen| seen == state) => Ok(*state),
            None => Err(format!("read {response:?} of {state}")),
        }
    }
}

#[derive(Clone, Debug)]
struct Recorded {
    invoke: u64,
    complete: Option<u64>,
    op: Option<i64>,
    response: Option<i64>,
}

fn call((id, recorded): (usize, &Recorded)) -> Call<'_, Register> {
    Call {
        id: id as u64,
        invoke: recorded.invoke,
        complete: recorded.complete,
        op: &recorded.op,
        response: recorded.response.as_ref(),
        rank: None,
    }
}

/// Tries every order of every subset that keeps all calls with a return.
fn any_order_works(calls: &[Call<'_, Register>], state: i64) -> bool {
    if calls.iter().all(|call| call.complete.is_none()) {
        return true;
    }
    let deadline = calls.iter().filter_map(|call| call.complete).min().unwrap_or(u64::MAX);
    (0..calls.len()).filter(|&at| calls[at].invoke < deadline).any(|at| {
        Register.step(&state, calls[at].op, calls[at].response).is_ok_and(|state| {
            let mut rest = calls.to_vec();
            rest.remove(at);
            any_order_works(&rest, state)
        })
    })
}

fn recorded() -> impl Strategy<Value = Vec<Recorded>> {
    let one = (0..30_u64, 1..15_u64, 0..3_i64, any::<bool>(), 0..5_u8);
    prop::collection::vec(one, 1..7).prop_map(|drawn| {
        let operations = drawn.into_iter().enumerate();
        operations
            .map(|(index, (start, length, value, read, lost))| {
                // Moments are unique, as the recorder's are.
                let moment = |time: u64| time * 64 + index as u64 * 2;
                let lost = lost == 0;
                Recorded {
                    invoke: moment(start),
                    complete: (!lost).then(|| moment(start + length) + 1),
                    op: (!read).then_some(value),
                    response: (!lost).then_some(if read { value } else { 0 }),
                }
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_search_agrees_with_trying_every_order(history in recorded()) {
        let calls: Vec<_> = history.iter().enumerate().map(call).collect();
        let found = match search(&Register, &calls, Budget::default()) {
            Search::Found(order) => {
                let required = calls.iter().filter(|call| call.complete.is_some());
                for call in required {
                    prop_assert!(order.contains(&call.id));
                }
                true
            }
            Search::Impossible(stuck) => {
                prop_assert!(calls.iter().any(|call| call.id == stuck.blocked));
                prop_assert!(!stuck.states.is_empty());
                false
            }
            Search::Exhausted { .. } => return Err(TestCaseError::fail("out of budget")),
        };
        prop_assert_eq!(found, any_order_works(&calls, 0));
    }
}

#[test]
fn a_search_over_budget_says_so() {
    let history: Vec<Recorded> = (0..12)
        .map(|at| Recorded { invoke: at, complete: Some(100 + at), op: Some(1), response: Some(0) })
        .chain([Recorded { invoke: 50, complete: Some(200), op: None, response: Some(7) }])
        .collect();
    let calls: Vec<_> = history.iter().enumerate().map(call).collect();
    let outcome = search(&Register, &calls, Budget { configurations: 100 });
    assert!(matches!(outcome, Search::Exhausted { .. }), "{outcome:?}");
}
