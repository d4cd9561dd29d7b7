//! etcd's nine guarantees, each by its name, over random interleavings.

use proptest::prelude::*;

use super::checks::{self, Check};
use super::plan::{carry_out, steps};

pub(super) const ALL: [(&str, Check); 10] = [
    ("ordered", checks::ordered),
    ("unique", checks::unique),
    ("atomic", checks::atomic),
    ("reliable", checks::reliable),
    ("resumable", checks::resumable),
    ("bookmarkable", checks::bookmarkable),
    ("filter", checks::filter),
    ("prevKV", checks::prev_kv),
    ("isCreate", checks::is_create),
    ("headers", checks::headers),
];

/// `check` first, so that a failure carries its name; then all of them.
fn holds(name: &'static str, check: Check) {
    let config = ProptestConfig { cases: 12, failure_persistence: None, ..Default::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let outcome = runner.run(&(steps(), any::<u64>()), |(steps, seed)| {
        let record = carry_out(&steps, seed);
        for (name, check) in std::iter::once((name, check)).chain(ALL) {
            check(&record)
                .map_err(|broken| TestCaseError::fail(format!("{name}: {broken}; seed {seed}")))?;
        }
        Ok(())
    });
    if let Err(broken) = outcome {
        panic!("{broken}");
    }
}

#[test]
fn ordered() {
    holds("ordered", checks::ordered);
}

#[test]
fn unique() {
    holds("unique", checks::unique);
}

#[test]
fn atomic() {
    holds("atomic", checks::atomic);
}

#[test]
fn reliable() {
    holds("reliable", checks::reliable);
}

#[test]
fn resumable() {
    holds("resumable", checks::resumable);
}

#[test]
fn bookmarkable() {
    holds("bookmarkable", checks::bookmarkable);
}

#[test]
fn filter() {
    holds("filter", checks::filter);
}

#[test]
fn prev_kv() {
    holds("prevKV", checks::prev_kv);
}

#[test]
fn is_create() {
    holds("isCreate", checks::is_create);
}

#[test]
fn headers_never_go_back() {
    holds("headers", checks::headers);
}
