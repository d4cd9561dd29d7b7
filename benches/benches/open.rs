//! Opening a store on fjall: with an index checkpoint, and with none, when the index is rebuilt from
//! the engine. 1 k, 100 k and 1 M keys; files are in the page cache.
//!
//! `cargo bench -p vetch-benches --bench open`

use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use vetch_benches::dataset::{PREFIX, range_end};
use vetch_benches::size;
use vetch_proto::etcdserverpb::RangeRequest;

#[expect(dead_code, reason = "every benchmark uses its part")]
mod store;

/// Fills, flushes and writes the index checkpoint.
fn prepare(dir: &Path, keys: u64) {
    let mut machine = store::open(store::fjall(dir), Some(dir));
    store::fill(&mut machine, keys);
    machine.checkpointer().checkpoint().expect("a checkpoint");
}

fn open_and_count(dir: &Path, checkpoints: Option<&Path>, keys: u64) {
    let machine = store::open(store::fjall(dir), checkpoints);
    let count = RangeRequest {
        key: PREFIX.into(),
        range_end: range_end(),
        count_only: true,
        ..RangeRequest::default()
    };
    assert_eq!(machine.view().range(&count).expect("an answer").count(), keys);
}

fn open(c: &mut Criterion) {
    for (name, keys) in
        [("1 k", 1_000), ("100 k", size::keys(100_000)), ("1 M", size::keys(1_000_000))]
    {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = folder.path();
        prepare(dir, keys);
        let mut group = c.benchmark_group(format!("open {name} keys"));
        group.sample_size(10);
        group.bench_function("index checkpoint", |b| {
            b.iter(|| open_and_count(dir, Some(dir), keys));
        });
        group.bench_function("no index checkpoint", |b| {
            b.iter(|| open_and_count(dir, None, keys));
        });
        group.finish();
    }
}

criterion_group!(benches, open);
criterion_main!(benches);
