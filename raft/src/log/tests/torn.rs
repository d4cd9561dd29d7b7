//! Torn tails, sector by sector.

use super::harness::{Change, Model, Recorder, entry, open_with};
use crate::disk::sim::SimDisk;
use crate::disk::{Disk, SECTOR};
use crate::log::{LogOptions, record, segment};

const ROOMY: LogOptions = LogOptions { segment_bytes: 64 << 10, tail_bytes: 0, read_bytes: 4096 };

/// Records that begin and end around sector and page borders; the last one is torn in every way that lost sectors can
/// tear it. What was flushed before it stays, it goes, and the log goes on.
#[test]
fn any_lost_sector_of_the_last_record_is_a_torn_tail() {
    for border in [SECTOR, 4096] {
        for before in [1, 8, 24, 32, 40, 200] {
            for last in [1, 100, 480, 700, 1500] {
                tear(border, before, last);
            }
        }
    }
}

fn tear(border: usize, before: usize, last: usize) {
    let disk = SimDisk::manual(1);
    let store = open_with(&disk, ROOMY).unwrap().unwrap();
    let mut recorder = Recorder::new(disk.clone(), store, Model::default());
    // Fills up to `before` bytes short of the border, rounded to where records may begin.
    let gap = before.next_multiple_of(record::ALIGN);
    let fill = border + 4096 - segment::HEADER - gap;
    let payload = fill - record::HEADER - 17 - 1;
    recorder.submit(vec![Change::Append(entry(1, 0, payload))]).unwrap();
    recorder.run();
    let kept = recorder.now().clone();
    recorder.submit(vec![Change::Append(entry(1, 1, last))]).unwrap();
    recorder.run();
    let whole = recorder.now().clone();

    let file = disk.list().unwrap().pop().unwrap().name;
    let start = border + 4096 - gap;
    let end = start + record::total(17 + last);
    let sectors: Vec<_> = (start / SECTOR..end.div_ceil(SECTOR)).collect();
    for lost in 0_u32..1 << sectors.len() {
        let torn = disk.copy();
        for (bit, sector) in sectors.iter().enumerate() {
            if lost & (1 << bit) != 0 {
                let (from, to) = ((sector * SECTOR).max(start), ((sector + 1) * SECTOR).min(end));
                torn.overwrite(&file, from as u64, &vec![0; to - from]);
            }
        }
        let store = open_with(&torn, ROOMY).unwrap();
        let store = store.unwrap_or_else(|error| panic!("lost {lost:b} of {sectors:?}: {error}"));
        let found = Model::of(&store);
        assert_eq!(found, if lost == 0 { whole.clone() } else { kept.clone() });
        // New entries in the same place, and nothing old behind them.
        let mut next = Recorder::new(torn.clone(), store, found);
        let index = next.now().next_index();
        next.submit(vec![Change::Append(entry(2, index, 3))]).unwrap();
        next.run();
        let again = open_with(&torn.power_cut(1), ROOMY).unwrap().unwrap();
        assert_eq!(&Model::of(&again), next.now());
    }
}

/// Sectors of one flush reach the disk in any order, so a later record of the same flush may be there without an earlier
/// one. That is a crash's trace, not damage.
#[test]
fn a_gap_inside_one_flush_is_a_torn_tail() {
    let disk = SimDisk::manual(1);
    let store = open_with(&disk, ROOMY).unwrap().unwrap();
    let mut recorder = Recorder::new(disk.clone(), store, Model::default());
    recorder.submit(vec![Change::Append(entry(1, 0, 10))]).unwrap();
    recorder.run();
    let kept = recorder.now().clone();
    for index in 1..12 {
        recorder.submit(vec![Change::Append(entry(1, index, 300))]).unwrap();
    }
    recorder.run();
    let file = disk.list().unwrap().pop().unwrap().name;
    let start = segment::HEADER + record::total(17 + 10);
    let sector_end = start.next_multiple_of(SECTOR);
    disk.overwrite(&file, start as u64, &vec![0; sector_end - start]);
    let store = open_with(&disk, ROOMY).unwrap().unwrap();
    assert_eq!(Model::of(&store), kept);
}
