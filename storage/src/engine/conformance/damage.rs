//! Failures: what an engine does with a disk that refuses, and with files that are not what it wrote.

use std::fs;
use std::path::{Path, PathBuf};

use super::stores::copy_dir;
use super::{EVERYTHING, FjallStore, MemStore, Store, batch, collect, put};
use crate::engine::fjall::FjallEngine;
use crate::engine::mem::{Fault, MemEngine};
use crate::engine::{Engine, Family, Options, Order};
use crate::error::Fatal;
use crate::types::LogIndex;

fn keys_of(engine: &impl Engine) -> usize {
    collect(engine, Family::Versions, EVERYTHING, Order::Ascending).len()
}

fn write(engine: &impl Engine, index: u64) -> Result<(), Fatal> {
    engine.apply(batch(index, vec![put(Family::Versions, format!("{index:04}"), "value")]))
}

#[test]
fn a_failed_apply_changes_nothing_and_stops_all_writes() {
    let engine = MemStore.open();
    write(&engine, 1).unwrap();
    engine.fail_apply(2, Fault::NoSpace);
    write(&engine, 2).unwrap();
    assert!(matches!(write(&engine, 3), Err(Fatal::Io { no_space: true, .. })));
    assert!(matches!(write(&engine, 3), Err(Fatal::Io { no_space: true, .. })));
    assert!(engine.persist().is_err());
    assert!(engine.maintain(crate::engine::Budget { bytes: 1 }).is_err());
    assert_eq!(engine.applied(), LogIndex(2));
    assert_eq!(keys_of(&engine), 2, "reads go on");
}

#[test]
fn a_failed_persist_leaves_the_durable_image() {
    let engine = MemEngine::new();
    write(&engine, 1).unwrap();
    engine.persist().unwrap();
    write(&engine, 2).unwrap();
    engine.fail_persist(1, Fault::Io);
    assert!(matches!(engine.persist(), Err(Fatal::Io { no_space: false, .. })));
    assert!(write(&engine, 3).is_err());
    assert_eq!(engine.durable_applied(), LogIndex(1));
    assert_eq!(engine.crash().applied(), LogIndex(1));
}

#[test]
fn a_killed_process_leaves_what_was_applied_and_power_loss_what_was_persisted() {
    let engine = MemEngine::new();
    write(&engine, 1).unwrap();
    engine.persist().unwrap();
    write(&engine, 2).unwrap();
    let restarted = engine.crash_live();
    assert!(write(&engine, 3).is_err(), "the old process is gone");
    assert_eq!((restarted.applied(), keys_of(&restarted)), (LogIndex(2), 2));
    let after_power_loss = restarted.crash();
    assert_eq!((after_power_loss.applied(), keys_of(&after_power_loss)), (LogIndex(1), 1));
}

/// A stopped database with 20 persisted batches.
fn database(dir: &Path) -> PathBuf {
    let mut store = FjallStore::new(dir);
    let engine = store.open();
    for index in 1..=20 {
        write(&engine, index).unwrap();
    }
    engine.persist().unwrap();
    drop(engine);
    store.path()
}

fn open(path: &Path) -> Result<FjallEngine, Fatal> {
    FjallEngine::open(path, Options::default())
}

/// The names of all files below a directory.
fn listing(path: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let file = entry.unwrap().path();
        if file.is_dir() {
            files.extend(listing(&file));
        }
        files.push(file);
    }
    files.sort();
    files
}

#[test]
fn a_directory_with_a_missing_part_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let whole = database(dir.path());
    let parts = ["version", "0.jnl", "keyspaces", "keyspaces/1/current", "keyspaces/0/current"];
    for (n, part) in parts.iter().enumerate() {
        let path = dir.path().join(format!("damaged-{n}"));
        copy_dir(&whole, &path).unwrap();
        let victim = path.join(part);
        if victim.is_dir() { fs::remove_dir_all(&victim) } else { fs::remove_file(&victim) }
            .unwrap();
        let before = listing(&path);
        let error = open(&path).err();
        assert!(matches!(error, Some(Fatal::Corrupt { .. })), "{part}: {error:?}");
        assert_eq!(listing(&path), before, "{part}");
    }
    assert_eq!(keys_of(&open(&whole).unwrap()), 20);
}

#[test]
fn a_flipped_bit_in_a_persisted_journal_is_never_a_smaller_state() {
    let dir = tempfile::tempdir().unwrap();
    let whole = database(dir.path());
    let journal = fs::read(whole.join("0.jnl")).unwrap();
    let used = journal.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let mut refused = 0;
    for at in (0..used).step_by(used / 40) {
        let path = dir.path().join(format!("flipped-{at}"));
        copy_dir(&whole, &path).unwrap();
        let mut bytes = fs::read(path.join("0.jnl")).unwrap();
        bytes[at] ^= 1 << (at % 8);
        fs::write(path.join("0.jnl"), &bytes).unwrap();
        match open(&path) {
            Ok(engine) => assert_eq!((engine.applied(), keys_of(&engine)), (LogIndex(20), 20)),
            Err(Fatal::Corrupt { .. }) => refused += 1,
            Err(fatal @ Fatal::Io { .. }) => panic!("byte {at}: {fatal}"),
        }
        fs::remove_dir_all(&path).unwrap();
    }
    assert!(refused > 30, "{refused} refused");
}

#[test]
fn a_lost_durable_position_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let whole = database(dir.path());
    let mark = whole.join("durable");
    let mut bytes = fs::read(&mark).unwrap();
    bytes[15] ^= 1;
    fs::write(&mark, &bytes).unwrap();
    let error = open(&whole).err();
    assert!(
        matches!(&error, Some(Fatal::Corrupt { location, .. }) if location.contains("durable at offset 0")),
        "{error:?}"
    );
}

#[test]
fn an_unfinished_creation_is_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("engine");
    let staging = dir.path().join("engine.creating");
    fs::create_dir_all(&staging).unwrap();
    fs::write(staging.join("0.jnl"), b"half").unwrap();
    let engine = open(&path).unwrap();
    write(&engine, 1).unwrap();
    assert!(!staging.exists());
}

#[test]
fn a_second_engine_on_the_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("engine");
    let engine = open(&path).unwrap();
    let error = open(&path).err();
    assert!(
        matches!(&error, Some(Fatal::Io { message, .. }) if message.contains("lock")),
        "{error:?}"
    );
    drop(engine);
}
