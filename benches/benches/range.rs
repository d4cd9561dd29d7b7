//! Reads from a view: one key, a page of 500, a count; out of 1,000 and of 1,000,000 keys on fjall.
//!
//! `cargo bench -p vetch-benches --bench range`

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use vetch_benches::dataset::{PREFIX, Scattered, key, range_end};
use vetch_benches::size;
use vetch_proto::etcdserverpb::RangeRequest;

#[expect(dead_code, reason = "every benchmark uses its part")]
mod store;

fn all() -> RangeRequest {
    RangeRequest { key: PREFIX.into(), range_end: range_end(), ..RangeRequest::default() }
}

fn out_of(c: &mut Criterion, name: &str, keys: u64) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut machine = store::open(store::fjall(dir.path()), None);
    store::fill(&mut machine, keys);
    let view = machine.view();
    let (every, starts) = (Scattered::new(keys), Scattered::new(keys / 10));
    let mut turn = 0;
    let mut group = c.benchmark_group(format!("{name} keys"));
    group.bench_function("get", |b| {
        b.iter(|| {
            turn += 1;
            let get = RangeRequest { key: key(every.at(turn % keys)), ..RangeRequest::default() };
            let records = view.range(&get).expect("an answer").next_records(1).expect("a record");
            assert_eq!(records.len(), 1);
        });
    });
    group.bench_function("page of 500", |b| {
        b.iter(|| {
            turn += 1;
            let first = key(starts.at(turn % (keys / 10)));
            let page = RangeRequest { key: first, limit: 500, ..all() };
            let mut answer = view.range(&page).expect("an answer");
            while !black_box(answer.next_chunk(64 << 10).expect("a chunk")).is_empty() {}
        });
    });
    group.bench_function("count_only", |b| {
        let count = RangeRequest { count_only: true, ..all() };
        b.iter(|| assert_eq!(view.range(&count).expect("an answer").count(), keys));
    });
    group.finish();
}

fn range(c: &mut Criterion) {
    out_of(c, "1 k", 1_000);
    out_of(c, "1 M", size::keys(1_000_000));
}

criterion_group!(benches, range);
criterion_main!(benches);
