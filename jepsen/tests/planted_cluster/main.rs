//! Bugs planted into the shipped code, and the oracle that sees each.
//!
//! A test runs small worlds of faults that bring its bug to light, seed after seed, until the oracle
//! named for it has spoken; the same seeds without the bug must pass. Worlds change with the code they
//! run, so no seed is picked by hand: a bug must show within a few, and mostly does in the first.
//!
//! | module | bugs in |
//! |---|---|
//! | `log` | what is acknowledged, voted and found again on disk |
//! | `state` | what is applied, and what a restart or a peer's state brings |
//! | `reads` | read indexes |
//! | `members` | who votes |
//! | `leases` | remaining time and renewal around changes of leaders |
//! | `watches` | what watchers are told |
//!
//! `cargo test -p vetch-jepsen --test planted_cluster survey -- --ignored --nocapture` counts for each bug
//! in how many worlds which oracle saw it; `BUG=lease` before it asks for those with that in their names.

mod leases;
mod log;
mod members;
mod reads;
mod state;
mod watches;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use vetch_jepsen::sim::coverage::Fault;
use vetch_jepsen::sim::{Shape, run};
use vetch_raft::log::LogOptions;
use vetch_storage::planted::{Planted, plant};

/// Worlds within which a bug must show.
const WORLDS: u32 = 12;

/// A bug, and what must be said of it.
struct Bug {
    /// What is switched on.
    planted: &'static [Planted],
    /// The world of a seed that brings it to light.
    shape: fn(u64) -> Shape,
    /// Words of the violation, those of one oracle alone.
    seen_as: &'static str,
}

impl Bug {
    /// Runs worlds until one shows the bug as it should.
    fn must_be_seen(&self) {
        let mut otherwise = Vec::new();
        for seed in 0..u64::from(WORLDS) {
            let shape = (self.shape)(seed);
            let violations = world(&shape, self.planted);
            assert_eq!(world(&shape, &[]), [""; 0], "seed {seed} without the bug");
            if violations.iter().any(|violation| violation.contains(self.seen_as)) {
                return;
            }
            otherwise.extend(violations);
        }
        panic!("in {WORLDS} worlds nobody said {:?}, but {otherwise:#?}", self.seen_as);
    }
}

/// What the oracles say of a world with these bugs in it.
fn world(shape: &Shape, bugs: &[Planted]) -> Vec<String> {
    let _planted = plant(bugs);
    let ran = catch_unwind(AssertUnwindSafe(|| run(shape)));
    ran.map_or_else(|_| vec!["the world panicked".to_owned()], |report| report.violations)
}

/// Three busy members for ten seconds under these faults.
fn three(seed: u64, faults: &[Fault]) -> Shape {
    let log = LogOptions { segment_bytes: 64 << 10, tail_bytes: 8_000, read_bytes: 8_000 };
    let shape = Shape {
        members: 3,
        storm: Duration::from_secs(10),
        fault_gap: Duration::from_millis(700),
        clients: 3,
        controllers: 1,
        holders: 0,
        watchers: 0,
        client_pause: Duration::from_millis(80),
        keys: 4,
        checkpoint: (1_000, 5_000),
        log,
        lease_checkpoints: false,
        ..Shape::of(seed)
    };
    shape.with_faults(faults.iter().copied())
}

/// As [`three`], with members that purge so much of their logs that who was away gets a whole state.
fn three_that_purge(seed: u64, faults: &[Fault]) -> Shape {
    Shape { checkpoint: (5, 2), ..three(seed, faults) }
}

/// One test for each bug of a module, and the list of them.
macro_rules! bugs {
    ($($(#[$doc:meta])* $name:ident: $bug:expr;)+) => {
        pub(crate) const ALL: &[(&str, crate::Bug)] = &[$((stringify!($name), $bug),)+];
        $(
            $(#[$doc])*
            #[test]
            fn $name() {
                $bug.must_be_seen();
            }
        )+
    };
}
use bugs;

#[test]
#[ignore = "takes minutes, and says rather than checks"]
fn survey() {
    let modules = [log::ALL, state::ALL, reads::ALL, members::ALL, leases::ALL, watches::ALL];
    let wanted = std::env::var("BUG").unwrap_or_default();
    let all = modules.into_iter().flatten().filter(|(name, _)| name.contains(&wanted));
    for (name, bug) in all {
        let began = std::time::Instant::now();
        let worlds: Vec<_> =
            (0..u64::from(WORLDS)).map(|seed| world(&(bug.shape)(seed), bug.planted)).collect();
        let seen = |said: &Vec<String>| said.iter().any(|one| one.contains(bug.seen_as));
        let named = worlds.iter().filter(|said| seen(said)).count();
        let took = began.elapsed() / WORLDS;
        println!("{name}: {named} of {WORLDS} as {:?}, {took:.1?} each", bug.seen_as);
        for other in worlds.iter().filter(|said| !seen(said)).filter_map(|said| said.first()) {
            println!("    instead: {other}");
        }
    }
}
