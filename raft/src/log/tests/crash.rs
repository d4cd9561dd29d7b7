//! Power cuts and kills at every step of the device.

use super::harness::{Model, Recorder, Workload, drive, open, vote};
use crate::disk::sim::{Fault, SimDisk};

/// Submits `calls` calls in batches of up to four, until the power is out.
fn work(recorder: &mut Recorder, workload: &mut Workload, calls: u64) {
    for _ in 0..calls {
        let changes = workload.next(recorder.now());
        if recorder.disk.is_dark() || recorder.submit(changes).is_err() {
            return;
        }
        if workload.below(4) == 0 {
            recorder.run();
        }
    }
    recorder.run();
}

/// A run that is cut at step `cut`, then found again by a power cut or a kill, worked on and cut again.
fn cut_twice(seed: u64, cut: u64) {
    let disk = SimDisk::manual(seed);
    disk.inject(Fault::PowerCut { at: cut });
    let mut workload = Workload::new(seed);
    let (disk, found) = match open(&disk) {
        None => (disk.power_cut(cut), Model::default()),
        Some(store) => {
            let mut recorder = Recorder::new(disk.clone(), store.unwrap(), Model::default());
            work(&mut recorder, &mut workload, 40);
            let next =
                if cut.is_multiple_of(3) { disk.process_killed() } else { disk.power_cut(cut + 1) };
            let recovered = open(&next.copy()).unwrap().unwrap_or_else(|error| {
                panic!("seed {seed}, cut at {cut}: {error}");
            });
            (next, recorder.check(&recovered))
        }
    };
    // Again on what was recovered: old bytes behind the new end must never come back.
    let again = disk.steps() + 1 + workload.below(25);
    disk.inject(Fault::PowerCut { at: again });
    let Some(store) = open(&disk) else { return };
    let mut recorder = Recorder::new(disk.clone(), store.unwrap(), found);
    work(&mut recorder, &mut workload, 12);
    let last = disk.power_cut(again);
    let recovered = open(&last).unwrap().unwrap_or_else(|error| {
        panic!("seed {seed}, cut at {cut} and {again}: {error}");
    });
    recorder.check(&recovered);
}

fn steps_of(seed: u64) -> u64 {
    let disk = SimDisk::manual(seed);
    let store = open(&disk).unwrap().unwrap();
    let mut recorder = Recorder::new(disk.clone(), store, Model::default());
    work(&mut recorder, &mut Workload::new(seed), 40);
    assert!(recorder.acknowledged() > 0);
    disk.steps()
}

#[test]
fn nothing_acknowledged_is_lost_wherever_the_power_goes_out() {
    let mut cuts = 0;
    for seed in 1..=12 {
        let steps = steps_of(seed);
        for cut in 0..=steps {
            cut_twice(seed, cut);
            cuts += 1;
        }
    }
    assert!(cuts > 1_000, "only {cuts} cuts");
}

#[test]
fn a_cut_during_recovery_changes_nothing() {
    for seed in 1..=40 {
        let disk = SimDisk::manual(seed);
        let store = open(&disk).unwrap().unwrap();
        let mut recorder = Recorder::new(disk.clone(), store, Model::default());
        let mut workload = Workload::new(seed);
        work(&mut recorder, &mut workload, 20);
        disk.inject(Fault::PowerCut { at: disk.steps() + workload.below(3) });
        work(&mut recorder, &mut workload, 10);
        let mut disk = disk.power_cut(seed);
        for cut in 0..6 {
            disk.inject(Fault::PowerCut { at: cut });
            if let Some(store) = open(&disk) {
                // Its own deletions stay queued: the power goes out before they are carried out.
                recorder.check(&store.unwrap());
            }
            disk = disk.power_cut(cut);
        }
        recorder.check(&open(&disk).unwrap().unwrap());
    }
}

/// What a killed process left unflushed is handed to consensus as durable, so opening must make it so.
#[test]
fn what_is_found_after_a_kill_survives_a_power_cut() {
    for seed in 1..=60 {
        let disk = SimDisk::manual(seed);
        let store = open(&disk).unwrap().unwrap();
        let mut recorder = Recorder::new(disk.clone(), store, Model::default());
        let mut workload = Workload::new(seed);
        disk.inject(Fault::PowerCut { at: disk.steps() + 1 + workload.below(30) });
        work(&mut recorder, &mut workload, 40);
        let killed = disk.process_killed();
        let found = recorder.check(&open(&killed).unwrap().unwrap());
        let recovered = open(&killed.power_cut(seed)).unwrap().unwrap();
        assert_eq!(Model::of(&recovered), found, "seed {seed}");
    }
}

/// A vote that was reported saved is found; one that was not is the old or the new one.
#[test]
fn a_saved_vote_is_never_forgotten() {
    for cut in 0..40 {
        let disk = SimDisk::manual(cut);
        let Some(store) = open(&disk) else { continue };
        let store = store.unwrap();
        disk.inject(Fault::PowerCut { at: disk.steps() + cut });
        let mut saved = None;
        let mut term = 0;
        // A vote takes two steps at least, so the power is out before long.
        while !disk.is_dark() && term < 100 {
            term += 1;
            if drive(&disk, store.put_vote(vote(term, false))).is_some_and(|done| done.is_ok()) {
                saved = Some(vote(term, false));
            }
        }
        assert!(disk.is_dark(), "votes were saved without the device");
        let found = open(&disk.power_cut(cut)).unwrap().unwrap().vote();
        let last = Some(vote(term, false));
        assert!(found == saved || found == last, "saved {saved:?}, last {last:?}, found {found:?}");
    }
}
