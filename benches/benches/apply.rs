//! The state machine: puts and updates applied and committed, over 100,000 keys, alone and as a batch
//! of 64 with one commit.
//!
//! `cargo bench -p vetch-benches --bench apply`. Nothing is flushed here: durability is the log's.

use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use vetch_benches::dataset::{Scattered, Values};
use vetch_benches::size;
use vetch_proto::vetchpb::proposal::Command;
use vetch_storage::engine::Engine;
use vetch_storage::engine::mem::MemEngine;

mod store;

fn on<E: Engine>(c: &mut Criterion, name: &str, engine: Arc<E>) {
    let keys = size::keys(100_000);
    let mut machine = store::open(engine, None);
    store::fill(&mut machine, keys);
    let (order, values) = (Scattered::new(keys), Values::new(store::VALUE));
    let mut position = 0;
    let mut next = || {
        position = (position + 1) % keys;
        order.at(position)
    };
    let mut group = c.benchmark_group(format!("apply on {name}"));
    for batch in [1_u64, 64] {
        group.throughput(Throughput::Elements(batch));
        group.bench_function(format!("put 256 B, {batch} per commit"), |b| {
            b.iter(|| {
                for _ in 0..batch {
                    let applied =
                        store::apply(&mut machine, Command::Put(store::put(next(), &values)));
                    assert!(applied.response.is_ok());
                }
                machine.commit().expect("a commit");
            });
        });
        group.bench_function(format!("update 256 B, {batch} per commit"), |b| {
            b.iter(|| {
                for _ in 0..batch {
                    let txn = Command::Txn(store::update(next(), &values));
                    assert_eq!(
                        store::apply(&mut machine, txn).events.len(),
                        1,
                        "it was carried out"
                    );
                }
                machine.commit().expect("a commit");
            });
        });
    }
    group.finish();
}

fn apply(c: &mut Criterion) {
    on(c, "memory", Arc::new(MemEngine::new()));
    let dir = tempfile::tempdir().expect("a folder");
    on(c, "fjall", store::fjall(dir.path()));
}

criterion_group!(benches, apply);
criterion_main!(benches);
