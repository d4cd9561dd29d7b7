//! Damage at rest: found, named, and nothing made worse.

use super::harness::{Change, Model, Recorder, SMALL, entry, id, open_with, vote};
use crate::disk::sim::SimDisk;
use crate::disk::{Disk, FileInfo};
use crate::log::{Corrupt, LogError, LogOptions, LogStore, record, segment};

/// A log of three or more small segments, every change flushed by itself.
fn sample() -> (SimDisk, Model) {
    let disk = SimDisk::manual(1);
    let store = open_with(&disk, TINY).unwrap().unwrap();
    let mut recorder = Recorder::new(disk.clone(), store, Model::default());
    let mut calls = vec![vec![Change::Vote(vote(1, true))]];
    calls.extend((0..9).map(|index| vec![Change::Append(entry(1, index, 90))]));
    calls.push(vec![Change::Truncate(Some(id(1, 7)))]);
    calls.push(vec![Change::Vote(vote(2, false))]);
    calls.push(vec![Change::Append(entry(2, 8, 40)), Change::Append(entry(2, 9, 700))]);
    calls.push(vec![Change::Purge(id(1, 1))]);
    calls.push(vec![Change::Append(entry(2, 10, 61))]);
    for call in calls {
        recorder.submit(call).unwrap();
        recorder.run();
    }
    let model = recorder.now().clone();
    assert_eq!(Model::of(&recorder.store), model);
    (disk.copy(), model)
}

const TINY: LogOptions = LogOptions { segment_bytes: 512, ..SMALL };

fn reopen(disk: &SimDisk) -> Result<LogStore, LogError> {
    open_with(disk, TINY).expect("no power cut here")
}

fn corrupt(result: Result<LogStore, LogError>) -> Corrupt {
    match result {
        Err(LogError::Corrupt(corrupt)) => corrupt,
        other => panic!("expected damage, found {other:?}"),
    }
}

/// Every file's bytes.
fn image(disk: &SimDisk) -> Vec<(FileInfo, Vec<u8>)> {
    let files = disk.list().unwrap().into_iter();
    files
        .map(|file| {
            let bytes = disk.read(&file.name, 0, usize::try_from(file.len).unwrap()).unwrap();
            (file, bytes)
        })
        .collect()
}

/// Where the records of a file end.
fn records_end(file: &FileInfo, bytes: &[u8]) -> usize {
    let epoch = segment::epoch_of(&file.name).unwrap();
    let mut at = segment::HEADER;
    while let Ok((header, _)) = record::record_at(bytes, at, epoch) {
        at += header.total();
    }
    at
}

#[test]
fn the_sample_spans_segments() {
    let (disk, model) = sample();
    assert!(image(&disk).len() >= 3);
    assert_eq!(Model::of(&reopen(&disk).unwrap()), model);
}

#[test]
fn a_flip_in_any_byte_is_found_or_harmless() {
    let (disk, model) = sample();
    for (file, bytes) in image(&disk) {
        let written = records_end(&file, &bytes);
        for at in 0..bytes.len() {
            for mask in [0x01, 0x10, 0x80, 0xFF] {
                let flipped = disk.copy();
                flipped.flip(&file.name, at as u64, mask);
                match reopen(&flipped) {
                    Err(LogError::Corrupt(found)) => assert_eq!(found.file, disk.path(&file.name)),
                    Err(other) => panic!("{file:?} at {at}: {other}"),
                    Ok(store) => {
                        assert!(at >= written, "{file:?} at {at}: not found");
                        assert_eq!(Model::of(&store), model, "{file:?} at {at}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_flip_under_a_running_member_is_never_served() {
    let (disk, model) = sample();
    let (file, bytes) = image(&disk).swap_remove(1);
    for at in segment::HEADER..records_end(&file, &bytes) {
        let flipped = disk.copy();
        let store = reopen(&flipped).unwrap();
        flipped.flip(&file.name, at as u64, 0x04);
        for (index, entry) in &model.entries {
            match store.read_one(*index) {
                Ok(found) => assert_eq!(found.as_ref(), Some(entry), "at {at}"),
                Err(LogError::Corrupt(found)) => assert_eq!(found.file, disk.path(&file.name)),
                Err(other) => panic!("at {at}: {other}"),
            }
        }
    }
}

#[test]
fn damage_is_refused_with_its_place_and_nothing_is_touched() {
    let (disk, _) = sample();
    let (last, bytes) = image(&disk).pop().unwrap();
    // The first record of the last segment, zeroed whole: later records were made when it was on disk.
    let epoch = segment::epoch_of(&last.name).unwrap();
    let (first, _) = record::record_at(&bytes, segment::HEADER, epoch).unwrap();
    let gone = disk.copy();
    gone.overwrite(&last.name, segment::HEADER as u64, &vec![0; first.total()]);
    let before = image(&gone);
    let found = corrupt(reopen(&gone));
    assert_eq!((found.file, found.offset), (disk.path(&last.name), segment::HEADER as u64));
    assert_eq!(image(&gone), before, "a refused log stays as it was");
    let text = corrupt(reopen(&gone)).to_string();
    for part in ["sim/", "offset 128", "restore this member"] {
        assert!(text.contains(part), "{text:?} lacks {part:?}");
    }
}

#[test]
fn a_missing_or_short_segment_is_refused() {
    let (disk, _) = sample();
    let files = disk.list().unwrap();
    let without = |at: usize| {
        let disk = SimDisk::inline(1);
        for (number, (file, bytes)) in image(&sample().0).into_iter().enumerate() {
            if number != at {
                let create =
                    crate::disk::Op::Create { file: file.name, len: file.len, head: bytes };
                disk.submit(create, None);
            }
        }
        disk
    };
    // The oldest: its live entries are nowhere. One in the middle: named as missing.
    let oldest = corrupt(reopen(&without(0)));
    assert!(oldest.expected.contains("in older segments"), "{oldest}");
    let middle = corrupt(reopen(&without(1)));
    assert_eq!(middle.file, disk.path(&files[1].name));
}

#[test]
fn records_of_an_older_segment_never_revive() {
    let (disk, model) = sample();
    let files = image(&disk);
    let (old, old_bytes) = &files[0];
    let (last, bytes) = files.last().unwrap();
    let end = records_end(last, bytes);
    let stale = &old_bytes[segment::HEADER..records_end(old, old_bytes)];
    let stale = &stale[..stale.len().min(bytes.len() - end)];
    assert!(stale.len() > record::HEADER, "no room for the test");
    disk.overwrite(&last.name, end as u64, stale);
    let store = reopen(&disk).unwrap();
    assert_eq!(Model::of(&store), model);
    // Opening has cleared them, so they cannot be misread next to new records either.
    let (_, bytes) = image(&disk).pop().unwrap();
    assert!(bytes[end..].iter().all(|byte| *byte == 0));
}
