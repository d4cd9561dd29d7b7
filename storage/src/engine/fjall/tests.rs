//! Damage of every file, planted.
#![expect(clippy::cast_possible_truncation, reason = "small numbers of a test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::*;
use crate::engine::conformance::{self, EVERYTHING};

const BATCHES: u64 = 60;

fn open(path: &Path) -> Result<FjallEngine, Fatal> {
    FjallEngine::open(path, Options::default())
}

fn write(engine: &FjallEngine, index: u64) {
    let puts = Family::ALL.map(|family| Change::Put {
        family,
        key: format!("{index:04}").into(),
        value: Bytes::from(vec![index as u8; 700]),
    });
    engine.apply(conformance::batch(index, puts.to_vec())).unwrap();
}

/// A stopped engine whose first half is in tables and the rest in the journal, all of it durable.
fn database(path: &Path) {
    let engine = open(path).unwrap();
    for index in 1..=BATCHES / 2 {
        write(&engine, index);
    }
    for keyspace in &engine.keyspaces {
        keyspace.rotate_memtable_and_wait().unwrap();
    }
    for index in BATCHES / 2 + 1..=BATCHES {
        write(&engine, index);
    }
    engine.persist().unwrap();
}

/// The keys there are, up to the first error.
fn read_all(engine: &FjallEngine) -> Result<Vec<usize>, Fatal> {
    let count = |family| {
        engine.scan(family, EVERYTHING, Order::Ascending).try_fold(0, |n, pair| {
            let (key, value) = pair?;
            let index: u64 = String::from_utf8_lossy(&key).parse().expect("a key that was written");
            assert_eq!(value, vec![index as u8; 700]);
            Ok(n + 1)
        })
    };
    Family::ALL.into_iter().map(count).collect()
}

/// All files with their contents.
fn tree(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files.extend(tree(&entry.path()));
        } else {
            files.insert(entry.path(), fs::read(entry.path()).unwrap());
        }
    }
    files
}

fn restore(files: &BTreeMap<PathBuf, Vec<u8>>, path: &Path) {
    fs::remove_dir_all(path).unwrap();
    for (file, bytes) in files {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }
}

/// The journal's file, cut behind its last batch.
fn trim_journal(path: &Path) -> (PathBuf, u64) {
    let (_, journal) = layout::journals(path).unwrap().pop().unwrap();
    let bytes = fs::read(&journal).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
    fs::OpenOptions::new().write(true).open(&journal).unwrap().set_len(end).unwrap();
    (journal, end)
}

fn names(fatal: &Fatal, file: &Path) -> bool {
    let Fatal::Corrupt { location, expected, .. } = fatal else { return false };
    let name = file.display().to_string();
    // `current` holds the checksum of a version file: either may be the damaged one.
    (location.contains(&name) || expected.contains(&name)) && location.contains("at offset ")
}

#[test]
fn a_flipped_bit_of_any_file_is_named_and_nothing_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("engine");
    database(&path);
    trim_journal(&path);
    // What fjall tidies when it opens is gone.
    drop(open(&path).unwrap());
    let whole = tree(&path);
    let mut classes = BTreeMap::<String, u32>::new();
    for (file, bytes) in &whole {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        for at in (0..bytes.len()).step_by((bytes.len() / 12).max(1)) {
            restore(&whole, &path);
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            fs::write(file, &damaged).unwrap();
            let before = tree(&path);
            match open(&path) {
                Err(fatal) => {
                    assert!(names(&fatal, file), "{} byte {at}: {fatal}", file.display());
                    assert_eq!(tree(&path), before, "{} byte {at}", file.display());
                }
                Ok(engine) => match read_all(&engine) {
                    Err(fatal) => {
                        assert!(names(&fatal, file), "{} byte {at}: {fatal}", file.display());
                        let again = engine.apply(conformance::batch(BATCHES + 1, vec![]));
                        assert!(again.is_err(), "writes go on after {fatal}");
                    }
                    Ok(counts) => {
                        assert_eq!(counts, [BATCHES as usize; 3], "{} byte {at}", file.display());
                        continue;
                    }
                },
            }
            *classes.entry(name.clone()).or_default() += 1;
        }
    }
    for class in ["version", "durable", "current", "0.jnl"] {
        assert!(classes[class] > 3, "{class}: {classes:?}");
    }
}

#[test]
fn a_flip_in_a_batch_is_named_with_the_offset_of_the_batch() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("engine");
    database(&path);
    let (journal, end) = trim_journal(&path);
    let whole = fs::read(&journal).unwrap();
    // Sequence numbers stand outside the batch's checksum.
    for at in [0, 1, 5, 6, 12, 13, end / 2, end - 1] {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at as usize] ^= 1 << bit;
            fs::write(&journal, &bytes).unwrap();
            let fatal =
                open(&path).err().unwrap_or_else(|| panic!("byte {at} bit {bit} is missed"));
            let text = fatal.to_string();
            let (_, rest) = text.split_once("0.jnl at offset ").expect(&text);
            let offset: u64 = rest.split(':').next().unwrap().parse().unwrap();
            let (_, next) = journal_batch(&whole, offset);
            assert!((offset..next).contains(&at), "byte {at}: {text}");
            assert_eq!(fs::read(&journal).unwrap(), bytes);
        }
    }
}

/// Where the batch at `offset` begins and ends, by its trailer.
fn journal_batch(bytes: &[u8], offset: u64) -> (u64, u64) {
    let at = offset as usize;
    assert_eq!(bytes[at], 1, "a batch starts at {offset}");
    let trailer = bytes[at..].windows(4).position(|window| window == b"FJL\x03").unwrap();
    (offset, offset + trailer as u64 + 4)
}

/// What a kill leaves of an engine with `unsynced` batches that were never persisted, `flush`ed or not.
fn killed(dir: &Path, unsynced: u64, flush: bool) -> (PathBuf, PathBuf, u64) {
    let (path, copy) = (dir.join("engine"), dir.join("copy"));
    database(&path);
    let engine = open(&path).unwrap();
    for index in BATCHES + 1..=BATCHES + unsynced {
        write(&engine, index);
    }
    if flush {
        engine.keyspace(Family::Versions).rotate_memtable_and_wait().unwrap();
    }
    conformance::copy_dir(&path, &copy).unwrap();
    let (_, journal) = layout::journals(&copy).unwrap().pop().unwrap();
    let durable = DurableMark::open(&copy).unwrap().journal().offset;
    (copy, journal, durable)
}

#[test]
fn a_journal_torn_behind_its_durable_end_is_cut_there() {
    let dir = tempfile::tempdir().unwrap();
    let (copy, journal, durable) = killed(dir.path(), 20, false);
    let whole = fs::read(&journal).unwrap();
    let len = whole.len() as u64;
    assert!(durable < len, "{durable} of {len}");
    let before = tree(&copy);
    let middle = durable + (len - durable) / 2;
    for (from, to) in [(durable, durable + 1), (middle, middle + 900), (len - 1, len)] {
        restore(&before, &copy);
        // A sector of a power loss that was never written, and what was written after it.
        let mut bytes = whole.clone();
        bytes[from as usize..to as usize].fill(0);
        fs::write(&journal, &bytes).unwrap();
        let engine = open(&copy).unwrap();
        let applied = engine.applied().get();
        assert!((BATCHES..BATCHES + 20).contains(&applied), "{applied} after {from}..{to}");
        assert_eq!(read_all(&engine).unwrap(), [applied as usize; 3]);
        write(&engine, applied + 1);
        engine.persist().unwrap();
        drop(engine);
        assert_eq!(open(&copy).unwrap().applied().get(), applied + 1);
    }
    // One byte before the mark is damage, whatever follows.
    restore(&before, &copy);
    let mut bytes = whole;
    bytes[durable as usize - 1] ^= 1;
    fs::write(&journal, &bytes).unwrap();
    assert!(names(&open(&copy).err().unwrap(), &journal));
    assert_eq!(fs::read(&journal).unwrap(), bytes);
}

#[test]
fn what_is_in_a_table_was_durable_in_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let (copy, journal, durable) = killed(dir.path(), 20, true);
    let mut bytes = fs::read(&journal).unwrap();
    bytes[durable as usize + 30] ^= 1;
    fs::write(&journal, &bytes).unwrap();
    let before = tree(&copy);
    let fatal = open(&copy).expect_err("part of the batch is in a table");
    assert!(names(&fatal, &journal), "{fatal}");
    assert_eq!(tree(&copy), before);
}

#[test]
fn a_running_engines_journal_is_left_alone_by_a_second_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("engine");
    database(&path);
    let engine = open(&path).unwrap();
    let (_, journal) = layout::journals(&path).unwrap().pop().unwrap();
    // Half a batch, as a write in progress shows it.
    let mut bytes = fs::read(&journal).unwrap();
    bytes.extend_from_slice(&[1, 3, 0, 0, 0, 9]);
    fs::write(&journal, &bytes).unwrap();
    assert!(matches!(open(&path), Err(Fatal::Io { message, .. }) if message.contains("lock")));
    assert_eq!(fs::read(&journal).unwrap(), bytes);
    drop(engine);
}

#[test]
fn a_missing_table_or_journal_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("engine");
    database(&path);
    let whole = tree(&path);
    let victims = whole.keys().filter(|file| {
        file.extension().is_some_and(|extension| extension == "jnl")
            || file.parent().unwrap().ends_with("tables")
    });
    let mut tried = 0;
    for victim in victims {
        restore(&whole, &path);
        fs::remove_file(victim).unwrap();
        let before = tree(&path);
        let text = open(&path).expect_err("it is refused").to_string();
        let folder = victim.parent().unwrap().display().to_string();
        assert!(text.contains(&folder), "{text}");
        assert_eq!(tree(&path), before);
        tried += 1;
    }
    assert!(tried > 3, "{tried}");
}
