//! Refused operations: the first one is the last one.

use super::harness::{Model, Recorder, Workload, open};
use crate::disk::sim::{Fault, SimDisk};
use vetch_storage::Fatal;

fn fail_at(seed: u64, fault: Fault, no_space: bool) -> bool {
    let disk = SimDisk::manual(seed);
    disk.inject(fault);
    let mut workload = Workload::new(seed);
    let Ok(store) = open(&disk).unwrap() else { return true };
    let mut recorder = Recorder::new(disk.clone(), store, Model::default());
    for _ in 0..40 {
        let changes = workload.next(recorder.now());
        let refused = recorder.submit(changes).is_err();
        assert_eq!(refused, recorder.store.failure().is_some(), "refused once failed, not before");
        if workload.below(3) == 0 {
            recorder.run();
        }
    }
    recorder.run();
    let Some(failure) = recorder.store.failure() else { return false };
    match failure {
        Fatal::Io { no_space: found, .. } => assert_eq!(found, no_space),
        Fatal::Corrupt { .. } => panic!("{failure} is no I/O error"),
    }
    let steps = disk.steps();
    let acknowledged = recorder.acknowledged();
    let late = recorder.store.append_entries([], |result| assert!(result.is_err()));
    assert!(late.is_err());
    recorder.run();
    assert_eq!(disk.steps(), steps, "nothing is tried after a failure");
    assert_eq!(recorder.acknowledged(), acknowledged);
    // Space or disk are back: what was acknowledged is there, with or without what the kernel still held.
    recorder.check(&open(&disk.process_killed()).unwrap().unwrap());
    recorder.check(&open(&disk.power_cut(seed)).unwrap().unwrap());
    true
}

#[test]
fn every_failing_step_stops_the_log_and_loses_nothing() {
    for seed in 1..=6 {
        for (fault, no_space) in [
            (&(|at| Fault::Io { at }) as &dyn Fn(u64) -> Fault, false),
            (&|at| Fault::NoSpace { at }, true),
        ] {
            let struck = (0..10_000).take_while(|at| fail_at(seed, fault(*at), no_space)).count();
            assert!(struck > 20, "seed {seed}: only {struck} steps");
        }
    }
}
