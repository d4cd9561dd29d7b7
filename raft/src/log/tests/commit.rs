//! Group commit, stalls, and what a real directory looks like.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use openraft::AsyncRuntime;
use openraft::async_runtime::Instant;
use openraft_rt_sim::SimRuntime;
use parking_lot::Mutex;

use super::harness::{Change, Model, Recorder, SMALL, entry, open_with, vote};
use crate::disk::sim::{Fault, SimDisk, Timing};
use crate::disk::{DiskError, DiskObserver, FsDisk};
use crate::log::{LogOptions, LogStore};

const LARGE: LogOptions = LogOptions { segment_bytes: 1 << 20, ..SMALL };

#[test]
fn whatever_waits_goes_out_in_one_flush() {
    let disk = SimDisk::manual(1);
    let store = open_with(&disk, LARGE).unwrap().unwrap();
    let mut recorder = Recorder::new(disk.clone(), store, Model::default());
    let before = disk.syncs();
    for index in 0..2_000 {
        recorder.submit(vec![Change::Append(entry(1, index, 100))]).unwrap();
    }
    recorder.run();
    assert_eq!(recorder.acknowledged(), 2_000);
    assert_eq!(disk.syncs() - before, 1);
}

/// Counts flushes, and holds each until the test lets it go.
#[derive(Debug)]
struct Gate {
    passes: Mutex<mpsc::Receiver<()>>,
    synced: mpsc::Sender<()>,
}

impl DiskObserver for Gate {
    fn synced(&self, _: Duration) {
        self.synced.send(()).unwrap();
        self.passes.lock().recv().unwrap();
    }
    fn wrote(&self, _: u64, _: Duration) {}
    fn failed(&self, error: &DiskError) {
        panic!("{error}");
    }
}

#[test]
fn files_take_the_whole_queue_in_one_flush() {
    let dir = tempfile::tempdir().unwrap();
    let (pass, passes) = mpsc::channel();
    let (synced, syncs) = mpsc::channel();
    let gate = Gate { passes: Mutex::new(passes), synced };
    let disk = Arc::new(FsDisk::open(dir.path(), Arc::new(gate)).unwrap());
    let wait = Duration::from_secs(30);
    let opening = std::thread::spawn(move || {
        futures::executor::block_on(LogStore::open(disk, LARGE)).unwrap()
    });
    // A new log's creation is no data flush.
    let store = opening.join().unwrap();
    let (done, acks) = mpsc::channel();
    let append = |index| {
        let done = done.clone();
        let hear = move |result: Result<(), _>| done.send(result.is_ok()).unwrap();
        store.append_entries([entry(1, index, 50)], hear).unwrap();
    };
    append(0);
    // The first flush is held: everything from now on waits behind it.
    syncs.recv_timeout(wait).unwrap();
    (1..=1_000).for_each(append);
    pass.send(()).unwrap();
    syncs.recv_timeout(wait).unwrap();
    pass.send(()).unwrap();
    for _ in 0..=1_000 {
        assert!(acks.recv_timeout(wait).unwrap());
    }
    assert!(syncs.try_recv().is_err(), "a third flush");
}

#[test]
fn a_log_on_files_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let disk = FsDisk::open(dir.path(), Arc::new(crate::disk::Unobserved)).unwrap();
        futures::executor::block_on(LogStore::open(Arc::new(disk), SMALL)).unwrap()
    };
    let mut model = Model::default();
    for round in 0..3 {
        let store = open();
        assert_eq!(Model::of(&store), model, "round {round}");
        let first = model.next_index();
        let entries: Vec<_> = (first..first + 30).map(|index| entry(1, index, 99)).collect();
        let (done, ack) = mpsc::channel();
        store.append_entries(entries.clone(), move |result| done.send(result).unwrap()).unwrap();
        futures::executor::block_on(store.put_vote(vote(round, false))).unwrap();
        ack.recv_timeout(Duration::from_secs(30)).unwrap().unwrap();
        for entry in entries {
            model.apply(&Change::Append(entry));
        }
        model.apply(&Change::Vote(vote(round, false)));
        let purged = model.entries[&(first + 20)].log_id;
        store.purge_upto(purged).unwrap();
        futures::executor::block_on(store.put_vote(vote(round, true))).unwrap();
        model.apply(&Change::Purge(purged));
        model.apply(&Change::Vote(vote(round, true)));
    }
    // Purged segments are gone: what is left is for nine live entries and the newest records.
    drop(open());
    let bytes: u64 =
        std::fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes <= 4 * SMALL.segment_bytes, "{bytes} bytes left");
}

#[test]
fn a_stalled_disk_delays_its_own_answers_only() {
    SimRuntime::with_seed(1).block_on(async {
        let disk = SimDisk::on_runtime::<SimRuntime>(1, Timing::default());
        let store = LogStore::open(Arc::new(disk.clone()), LARGE).await.unwrap();
        let extra = Duration::from_secs(5);
        disk.inject(Fault::Stall { at: disk.steps(), extra });
        let start = <SimRuntime as AsyncRuntime>::Instant::now();
        let (done, ack) = tokio::sync::oneshot::channel();
        store.append_entries([entry(1, 0, 10)], move |result| drop(done.send(result))).unwrap();
        assert_eq!(Model::of(&store).entries.len(), 1, "readable at once");
        assert_eq!(start.elapsed(), Duration::ZERO);
        ack.await.unwrap().unwrap();
        assert!(start.elapsed() >= extra);
    });
}
