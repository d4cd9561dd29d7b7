//! The in-memory index at a million keys of 48 bytes: memory per key, changes, reads, counts, and the
//! way to a checkpoint file and back.
//!
//! `cargo bench -p vetch-benches --bench index`; the memory is printed first.
#![expect(clippy::print_stdout, reason = "a benchmark reports on stdout")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::hint::black_box;
use std::sync::LazyLock;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use vetch_benches::size;
use vetch_storage::mvcc::index::{Index, IndexEntry, checkpoint};
use vetch_storage::mvcc::key_range::KeyRange;
use vetch_storage::{LeaseId, LogIndex, Revision, RevisionKey, Version};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

static KEYS: LazyLock<u64> = LazyLock::new(|| size::keys(1_000_000));

/// 48 bytes, like those of kube-apiserver; `n` is scattered over the key space.
fn key(n: u64) -> Bytes {
    let scattered = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Bytes::from(format!(
        "/registry/pods/namespace-{:04}/pod-{:014x}",
        scattered >> 52,
        scattered << 12 >> 12
    ))
    .slice(..48)
}

fn entry(revision: u64) -> IndexEntry {
    let revision = Revision(revision.cast_signed());
    IndexEntry {
        created: revision,
        modified: RevisionKey { main: revision, sub: 0 },
        version: Version(1),
        lease: LeaseId::NONE,
        value_len: 256,
        tombstone: false,
    }
}

fn allocated() -> usize {
    tikv_jemalloc_ctl::epoch::advance().expect("jemalloc answers");
    tikv_jemalloc_ctl::stats::allocated::read().expect("jemalloc answers")
}

fn full() -> Index {
    let before = allocated();
    let mut index = Index::new();
    for n in 0..*KEYS {
        index.insert(&key(n), entry(n + 2));
    }
    let bytes = allocated().saturating_sub(before);
    println!("{} keys of 48 bytes: {:.1} bytes per key", index.len(), bytes as f64 / *KEYS as f64);
    index
}

/// Numbers below [`KEYS`] in no order.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % *KEYS
    }
}

fn changes(c: &mut Criterion, full: &Index) {
    let mut random = Random(1);
    let mut revision = *KEYS + 2;
    let mut index = full.clone();
    let mut published = index.clone();
    c.bench_function("index/update, published each time", |b| {
        b.iter_batched(
            || key(random.next()),
            |key| {
                revision += 1;
                index.insert(&key, entry(revision));
                published = index.clone();
            },
            BatchSize::SmallInput,
        );
    });
    drop(published);
    let mut updates = Random(2);
    c.bench_function("index/update, 64 per publication", |b| {
        b.iter_batched(
            || (0..64).map(|_| key(updates.next())).collect::<Vec<_>>(),
            |keys| {
                for key in &keys {
                    revision += 1;
                    index.insert(key, entry(revision));
                }
                index.clone()
            },
            BatchSize::SmallInput,
        );
    });
    let mut fresh = *KEYS..;
    let mut index = full.clone();
    let mut published = index.clone();
    c.bench_function("index/insert, published each time", |b| {
        b.iter_batched(
            || fresh.next().map(|n| (key(n), entry(n + 2))).expect("numbers without end"),
            |(key, entry)| {
                index.insert(&key, entry);
                published = index.clone();
            },
            BatchSize::SmallInput,
        );
    });
    drop(published);
}

fn reads(c: &mut Criterion, full: &Index) {
    let mut random = Random(3);
    c.bench_function("index/get", |b| {
        b.iter_batched(|| key(random.next()), |key| full.get(&key), BatchSize::SmallInput);
    });
    c.bench_function("index/500 entries, lent keys", |b| {
        b.iter_batched(
            || KeyRange::From(key(random.next())),
            |range| {
                let mut cursor = full.cursor(&range);
                let mut bytes = 0;
                for _ in 0..500 {
                    if let Some((key, entry)) = cursor.next_entry() {
                        bytes += key.len() + entry.value_len as usize;
                    }
                }
                bytes
            },
            BatchSize::SmallInput,
        );
    });
    c.bench_function("index/500 entries, own keys", |b| {
        b.iter_batched(
            || KeyRange::From(key(random.next())),
            |range| full.range(&range).take(500).map(|(key, _)| key.len()).sum::<usize>(),
            BatchSize::SmallInput,
        );
    });
    c.bench_function("index/count of a range", |b| {
        b.iter_batched(
            || {
                let (a, b) = (key(random.next()), key(random.next()));
                KeyRange::HalfOpen { start: a.clone().min(b.clone()), end: a.max(b) }
            },
            |range| full.count(&range),
            BatchSize::SmallInput,
        );
    });
    let everything = KeyRange::From(Bytes::new());
    c.bench_function("index/1 M keys, 1,000 changed since", |b| {
        let since = Revision((*KEYS + 1 - 1000).cast_signed());
        b.iter(|| full.changed_since(&everything, since).count());
    });
}

fn checkpoints(c: &mut Criterion, full: &Index) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("index");
    let header = checkpoint::Header {
        revision: Revision(KEYS.cast_signed()),
        compact_revision: None,
        applied: LogIndex(1),
    };
    let length = checkpoint::write(&path, &header, full).expect("the checkpoint is written");
    println!("checkpoint of {} keys: {:.1} MB", *KEYS, length as f64 / 1e6);
    let mut group = c.benchmark_group("index/checkpoint of 1 M keys");
    group.sample_size(10);
    group.bench_function("write", |b| b.iter(|| checkpoint::write(&path, &header, full)));
    group.bench_function("read", |b| {
        b.iter_with_large_drop(|| checkpoint::read(&path).expect("the checkpoint is read"));
    });
    group.finish();
}

fn all(c: &mut Criterion) {
    let full = full();
    changes(c, &full);
    reads(c, &full);
    checkpoints(c, &full);
    let start = std::time::Instant::now();
    drop(black_box(full));
    println!("dropping the last root of {} keys: {:?}", *KEYS, start.elapsed());
}

criterion_group!(benches, all);
criterion_main!(benches);
