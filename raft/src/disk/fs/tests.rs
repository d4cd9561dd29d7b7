//! What only the real directory shows.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::executor::block_on;

use super::*;
use crate::disk::{Unobserved, complete};

fn name(text: &str) -> FileName {
    FileName::new(text)
}

fn create(text: &str, len: u64) -> Op {
    Op::Create { file: name(text), len, head: b"head".to_vec() }
}

#[test]
fn files_are_complete_under_their_name_and_zero_behind_their_head() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FsDisk::open(dir.path(), Arc::new(Unobserved)).unwrap();
    let len = 3 << 20;
    block_on(complete(&disk, create("a", len))).unwrap();
    let write = Op::Write { file: name("a"), offset: len - 4, bytes: b"tail".to_vec() };
    block_on(complete(&disk, write)).unwrap();
    drop(disk);
    let bytes = fs::read(dir.path().join("a")).unwrap();
    assert_eq!((bytes.len() as u64, &bytes[..4]), (len, &b"head"[..]));
    assert_eq!(&bytes[bytes.len() - 4..], b"tail");
    assert!(bytes[4..bytes.len() - 4].iter().all(|byte| *byte == 0));
    // The file that was prepared for later went with the disk.
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_prepared_file_is_used_and_starts_clean() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FsDisk::open(dir.path(), Arc::new(Unobserved)).unwrap();
    for round in 0..20_u8 {
        let file = round.to_string();
        block_on(complete(&disk, create(&file, 1 << 16))).unwrap();
        let bytes = vec![round + 1; 1000];
        block_on(complete(&disk, Op::Write { file: name(&file), offset: 100, bytes })).unwrap();
    }
    drop(disk);
    for round in 0..20_u8 {
        let bytes = fs::read(dir.path().join(round.to_string())).unwrap();
        assert_eq!(bytes.len(), 1 << 16);
        assert!(bytes[100..1100].iter().all(|byte| *byte == round + 1));
        assert!(bytes[1100..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn names_can_be_changed_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FsDisk::open(dir.path(), Arc::new(Unobserved)).unwrap();
    disk.submit(create("a", 100), None);
    disk.submit(create("b", 200), None);
    disk.submit(Op::Rename { from: name("a"), to: name("c") }, None);
    let write = Op::Write { file: name("c"), offset: 50, bytes: b"renamed".to_vec() };
    disk.submit(write, None);
    block_on(complete(&disk, Op::Remove { file: name("b") })).unwrap();
    assert_eq!(disk.list().unwrap(), [FileInfo { name: name("c"), len: 100 }]);
    assert_eq!(disk.read(&name("c"), 50, 1000).unwrap()[..7], *b"renamed");
}

#[test]
fn what_is_removed_is_gone_for_readers_at_once_and_from_the_disk_soon() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FsDisk::open(dir.path(), Arc::new(Unobserved)).unwrap();
    let names = ["a", "b", "c"];
    for file in names {
        block_on(complete(&disk, create(file, 3 << 20))).unwrap();
    }
    for file in &names[..2] {
        block_on(complete(&disk, Op::Remove { file: name(file) })).unwrap();
        disk.read(&name(file), 0, 4).unwrap_err();
    }
    assert_eq!(disk.list().unwrap(), [FileInfo { name: name("c"), len: 3 << 20 }]);
    drop(disk);
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn leftovers_of_an_interrupted_creation_or_removal_go() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("0001.log.tmp"), b"half").unwrap();
    fs::write(dir.path().join("0000.log.removed.tmp"), b"half").unwrap();
    fs::write(dir.path().join("kept"), b"whole").unwrap();
    let disk = FsDisk::open(dir.path(), Arc::new(Unobserved)).unwrap();
    assert_eq!(disk.list().unwrap(), [FileInfo { name: name("kept"), len: 5 }]);
    assert!(!dir.path().join("0001.log.tmp").exists());
    assert!(!dir.path().join("0000.log.removed.tmp").exists());
}

#[derive(Debug, Default)]
struct Counter {
    synced: AtomicU64,
    wrote: AtomicU64,
    failed: AtomicU64,
}

impl DiskObserver for Counter {
    fn synced(&self, _: Duration) {
        self.synced.fetch_add(1, Ordering::Relaxed);
    }
    fn wrote(&self, bytes: u64, _: Duration) {
        self.wrote.fetch_add(bytes, Ordering::Relaxed);
    }
    fn failed(&self, _: &DiskError) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn the_first_failure_is_the_last_word() {
    let dir = tempfile::tempdir().unwrap();
    let counter = Arc::new(Counter::default());
    let observer: Arc<dyn DiskObserver> = Arc::<Counter>::clone(&counter);
    let disk = FsDisk::open(dir.path(), observer).unwrap();
    block_on(complete(&disk, create("a", 4096))).unwrap();
    let write = || Op::Write { file: name("a"), offset: 0, bytes: vec![1; 10] };
    block_on(complete(&disk, write())).unwrap();
    let missing = Op::Remove { file: name("missing") };
    let error = block_on(complete(&disk, missing)).unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
    // The same refusal for what would have worked.
    assert_eq!(block_on(complete(&disk, write())).unwrap_err(), error);
    assert_eq!(counter.synced.load(Ordering::Relaxed), 1);
    assert_eq!(counter.wrote.load(Ordering::Relaxed), 10);
    assert_eq!(counter.failed.load(Ordering::Relaxed), 1);
}

#[test]
fn closing_finishes_what_is_queued() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FsDisk::open(dir.path(), Arc::new(Unobserved)).unwrap();
    let heard = Arc::new(AtomicU64::new(0));
    disk.submit(create("a", 4096), None);
    for at in 0..100 {
        let heard = Arc::clone(&heard);
        let done: Completion = Box::new(move |result| {
            result.unwrap();
            heard.fetch_add(1, Ordering::Relaxed);
        });
        disk.submit(Op::Write { file: name("a"), offset: at * 8, bytes: vec![7; 8] }, Some(done));
    }
    drop(disk);
    assert_eq!(heard.load(Ordering::Relaxed), 100);
}

/// A device that is always full stands for the file.
#[test]
fn a_full_device_fails_the_write_for_good_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/full", dir.path().join("a")).unwrap();
    let disk = FsDisk::open(dir.path(), Arc::new(Unobserved)).unwrap();
    let write = || Op::Write { file: name("a"), offset: 0, bytes: b"bytes".to_vec() };
    let error = block_on(complete(&disk, write())).unwrap_err();
    assert!(error.is_no_space(), "{error}");
    assert!(error.to_string().contains(&dir.path().join("a").display().to_string()), "{error}");
    assert_eq!(block_on(complete(&disk, create("b", 100))).unwrap_err(), error);
    assert!(!dir.path().join("b").exists(), "nothing is tried after a failure");
}

/// The preparing thread's files come and go while the directory is listed.
#[test]
fn a_directory_can_be_listed_while_files_are_prepared() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FsDisk::open(dir.path(), Arc::new(Unobserved)).unwrap();
    std::thread::scope(|scope| {
        let maker = scope.spawn(|| {
            for round in 0..100 {
                block_on(complete(&disk, create(&round.to_string(), 4096))).unwrap();
            }
        });
        while !maker.is_finished() {
            assert!(disk.list().unwrap().len() <= 100);
        }
    });
}
