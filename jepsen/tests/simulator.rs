//! Worlds of the shipped code: the same seed is the same world, and nothing forbidden happens.

use vetch_jepsen::sim::campaign::{run_all, run_seed};
use vetch_jepsen::sim::coverage::{Coverage, Fault, Reached};
use vetch_jepsen::sim::{Shape, run};

#[test]
fn the_same_seed_is_the_same_world() {
    for seed in [3, 12] {
        let (first, second) = (run_seed(seed), run_seed(seed));
        let differs = first.events.iter().zip(&second.events).find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.hash, second.hash, "seed {seed}: something that no line tells");
        assert_ne!(first.hash, run_seed(seed + 1).hash, "the hash sees something");
    }
}

#[test]
fn a_few_worlds_under_all_faults() {
    let summary = run_all(0..12, None, |_| {}, |_| {});
    let broken: Vec<_> =
        summary.failed.iter().map(|report| (report.replay(), &report.violations)).collect();
    assert!(broken.is_empty(), "{broken:#?}");
    assert_eq!(summary.worlds, 12);
    assert!(summary.operations > 1_000, "{summary}");
}

/// Members come, are promoted, leave, are lost with their disks and replaced, while writes go on and
/// processes die.
#[test]
fn worlds_whose_members_come_and_go() {
    let (reached, mut operations) = (Coverage::default(), 0);
    for seed in 0..6 {
        let faults = [
            Fault::Growth,
            Fault::Learner,
            Fault::Removal,
            Fault::Replacement,
            Fault::Wipe,
            Fault::Move,
            Fault::Kill,
        ];
        let report = run(&Shape { members: 3, ..Shape::of(seed) }.with_faults(faults));
        assert!(report.violations.is_empty(), "seed {seed}: {:#?}", report.violations);
        reached.merge(&report.coverage);
        operations += report.operations;
    }
    assert!(operations > 500, "{operations}");
    let changes = [
        Reached::Grown,
        Reached::Promoted,
        Reached::RemovedStopped,
        Reached::WipedRefused,
        Reached::Replaced,
        Reached::Installed,
    ];
    let missing: Vec<_> = changes.iter().filter(|one| reached.times(**one) == 0).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
