//! Worlds of the shipped code: the same seed is the same world, and nothing forbidden happens.

use vetch_jepsen::sim::campaign::{run_all, run_seed};

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
