//! The Raft log: one proposer against the bare flush, group commit, framing, and opening.
//!
//! `cargo bench -p vetch-benches --bench log`. Flushes go to the temporary directory (`TMPDIR`): it must be
//! on the disk in question, not in memory.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::mpsc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures::executor::block_on;
use vetch_raft::disk::{FsDisk, Unobserved};
use vetch_raft::log::{LogOptions, LogStore};
use vetch_raft::types::{CommittedLeaderId, EncodedProposal, Entry, Payload, RaftLogId};

const VALUE: usize = 256;

fn entry(index: u64) -> Entry {
    let payload = Payload::Proposal(EncodedProposal(vec![7; VALUE].into()));
    Entry { log_id: RaftLogId::new(CommittedLeaderId::new(1), index), payload }
}

fn on_files(dir: &tempfile::TempDir) -> LogStore {
    let disk = FsDisk::open(dir.path(), Arc::new(Unobserved)).expect("a disk");
    block_on(LogStore::open(Arc::new(disk), LogOptions::default())).expect("a log")
}

/// What no log can beat: one thread, one write into zeros that are there already, one flush.
fn bare(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("bare");
    let file = OpenOptions::new().write(true).create_new(true).open(path).expect("a file");
    file.write_all_at(&vec![0; 64 << 20], 0).expect("zeros");
    file.sync_all().expect("a flush");
    for count in [1, 64] {
        let record = vec![7; (VALUE + 56) * count];
        let mut at = 0;
        c.bench_function(&format!("bare write and fdatasync of {count}"), |b| {
            b.iter(|| {
                file.write_all_at(&record, at).expect("a write");
                file.sync_data().expect("a flush");
                at = (at + record.len() as u64) % (60 << 20);
            });
        });
    }
}

/// Proposals submitted together, and the time until the last is durable.
fn append(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = on_files(&dir);
    let (done, acks) = mpsc::channel();
    let mut next = 0;
    for count in [1_u64, 64, 1024] {
        let mut group = c.benchmark_group("append");
        group.throughput(Throughput::Elements(count));
        group.bench_function(format!("{count} proposers"), |b| {
            b.iter(|| {
                for index in next..next + count {
                    let done = done.clone();
                    let hear = move |result| done.send(result).expect("a listener");
                    store.append_entries([entry(index)], hear).expect("an append");
                }
                next += count;
                for _ in 0..count {
                    acks.recv().expect("an answer").expect("durable");
                }
            });
        });
        group.finish();
    }
}

/// A log of 100,000 entries, from its files to ready.
fn open(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = on_files(&dir);
    let (done, ack) = mpsc::channel();
    let hear = move |result| done.send(result).expect("a listener");
    store.append_entries((0..100_000).map(entry), hear).expect("an append");
    ack.recv().expect("an answer").expect("durable");
    drop(store);
    let mut group = c.benchmark_group("open");
    group.sample_size(20);
    group.bench_function("100,000 entries", |b| {
        b.iter_batched(|| (), |()| on_files(&dir).bounds(), BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(log, bare, append, open);
criterion_main!(log);
