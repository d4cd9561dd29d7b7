//! The state machine against the reference model: random logs, cut into random batches, with crashes,
//! restarts and pieces of compaction in between, on every engine. Answers, events, reads of every
//! revision, hashes and leases are the model's; digests are the same everywhere.
//!
//! `PROPTEST_CASES` sets the number of cases in memory; the engines on disk get a fiftieth of it.

mod compare;
mod planted;
mod run;
mod script;

use std::path::Path;

use proptest::prelude::*;
use vetch_storage::engine::conformance::{FjallStore, MemStore, Store};

use crate::compare::Checked;
use crate::run::{Ledger, run};
use crate::script::{Schedule, Script, schedules, scripts};

/// The number of cases: `default`, or a share of what the caller asks for.
fn cases(default: u32, share: u32) -> ProptestConfig {
    #[expect(clippy::disallowed_methods, reason = "how long to search is the caller's choice")]
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|asked| asked.parse::<u32>().ok());
    let cases = asked.map_or(default, |asked| asked.div_ceil(share));
    ProptestConfig { max_shrink_iters: 2_000 / share, ..ProptestConfig::with_cases(cases) }
}

/// A run in memory and one on disk of the same log, each with its own batches and restarts.
fn on_disk<S: Store>(
    store: impl Fn(&Path) -> S,
    script: &Script,
    schedules: [&Schedule; 2],
) -> Checked {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut ledger = Ledger::default();
    run(&mut MemStore, script, schedules[0], &mut ledger)?;
    run(&mut store(directory.path()), script, schedules[1], &mut ledger)
}

proptest! {
    #![proptest_config(cases(120, 1))]

    #[test]
    fn the_machine_on_memory_is_the_model(
        script in scripts(),
        one in schedules(),
        other in schedules(),
    ) {
        let mut ledger = Ledger::default();
        for schedule in [one, other] {
            run(&mut MemStore, &script, &schedule, &mut ledger)?;
        }
    }
}

proptest! {
    #![proptest_config(cases(8, 50))]

    #[test]
    fn the_machine_on_fjall_is_the_model(
        script in scripts(),
        one in schedules(),
        other in schedules(),
    ) {
        on_disk(FjallStore::new, &script, [&one, &other])?;
    }
}

#[cfg(feature = "sled")]
proptest! {
    #![proptest_config(cases(8, 50))]

    #[test]
    fn the_machine_on_sled_is_the_model(
        script in scripts(),
        one in schedules(),
        other in schedules(),
    ) {
        use vetch_storage::engine::conformance::SledStore;
        on_disk(SledStore::new, &script, [&one, &other])?;
    }
}
