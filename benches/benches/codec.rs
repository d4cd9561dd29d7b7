//! Messages on the wire: a put and a proposal read, a page of 500 written by the codec and from a view.
//!
//! `cargo bench -p vetch-benches --bench codec`

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use prost::Message;
use vetch_benches::dataset::{PREFIX, Values, range_end};
use vetch_proto::etcdserverpb::{PutRequest, RangeRequest, RangeResponse};
use vetch_proto::vetchpb::Proposal;
use vetch_proto::vetchpb::proposal::Command;
use vetch_storage::engine::mem::MemEngine;

#[expect(dead_code, reason = "every benchmark uses its part")]
mod store;

fn decode(c: &mut Criterion) {
    let put = store::put(7, &Values::new(store::VALUE));
    let wire = bytes::Bytes::from(put.encode_to_vec());
    c.bench_function("decode a put of 256 B", |b| {
        b.iter(|| PutRequest::decode(black_box(wire.clone())).expect("a put"));
    });
    let proposal = Proposal { command: Some(Command::Put(put)), ..Proposal::default() };
    c.bench_function("encode its proposal", |b| {
        b.iter(|| black_box(&proposal).encode_to_vec());
    });
}

fn page(c: &mut Criterion) {
    let mut machine = store::open(std::sync::Arc::new(MemEngine::new()), None);
    store::fill(&mut machine, 1_000);
    let view = machine.view();
    let request = RangeRequest {
        key: PREFIX.into(),
        range_end: range_end(),
        limit: 500,
        ..RangeRequest::default()
    };
    let records = || view.range(&request).expect("a page").next_records(500).expect("records");
    let response = RangeResponse { kvs: records(), count: 1_000, more: true, header: None };
    let mut group = c.benchmark_group("page of 500 × 256 B");
    group.throughput(Throughput::Bytes(response.encoded_len() as u64));
    group.bench_function("encode by the codec", |b| {
        b.iter(|| black_box(&response).encode_to_vec());
    });
    group.bench_function("read from a view as encoded fields", |b| {
        b.iter(|| {
            let mut answer = view.range(&request).expect("a page");
            let mut read = 0;
            while answer.remaining() > 0 {
                read += answer.next_chunk(64 << 10).expect("a chunk").len();
            }
            read
        });
    });
    group.finish();
}

criterion_group!(benches, decode, page);
criterion_main!(benches);
