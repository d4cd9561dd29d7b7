//! Leases: renewing one of 10,000, and 10,000 due at once, by the clock alone and with their keys
//! deleted by the state machine (fjall), 500 per entry.
//!
//! `cargo bench -p vetch-benches --bench lease`

use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use vetch_benches::dataset::{Scattered, Values};
use vetch_proto::etcdserverpb::{LeaseGrantRequest, PutRequest};
use vetch_proto::vetchpb::LeaseExpire;
use vetch_proto::vetchpb::proposal::Command;
use vetch_server::lease::Lessor;
use vetch_server::lease::lessor::LeaseFacts;
use vetch_storage::engine::Engine;
use vetch_storage::{LeaseId, StateMachine, Term};

#[expect(dead_code, reason = "every benchmark uses its part")]
mod store;

const LEASES: i64 = 10_000;
const TTL: i64 = 60;
const PER_ENTRY: usize = 500;

fn lessor() -> Lessor {
    let facts = (1..=LEASES).map(|id| LeaseFacts { id: LeaseId(id), ttl: TTL, remaining_ttl: 0 });
    Lessor::promote(Term(1), Duration::ZERO, facts, Duration::ZERO, None)
}

fn clock(c: &mut Criterion) {
    let mut lessor = lessor();
    let order = Scattered::new(LEASES.unsigned_abs());
    let (mut turn, mut now) = (0, Duration::ZERO);
    c.bench_function("lessor: renew one of 10,000", |b| {
        b.iter(|| {
            turn = (turn + 1) % LEASES.unsigned_abs();
            now += Duration::from_micros(1);
            lessor.renew(LeaseId(order.at(turn).cast_signed() + 1), now)
        });
    });
    let mut group = c.benchmark_group("10,000 leases due at once");
    group.throughput(Throughput::Elements(LEASES.unsigned_abs()));
    group.bench_function("lessor: hand out", |b| {
        b.iter_batched(
            self::lessor,
            |mut lessor| {
                // A new leader spreads the ends of many leases: behind the last of them.
                let later = Duration::from_hours(1);
                let mut gone = 0;
                loop {
                    let due = lessor.due(later, PER_ENTRY);
                    if due.is_empty() {
                        break;
                    }
                    gone += due.len();
                }
                assert_eq!(gone.cast_signed() as i64, LEASES);
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

/// Leases with a key each.
fn grant<E: Engine>(machine: &mut StateMachine<E>) {
    let values = Values::new(store::VALUE);
    for id in 1..=LEASES {
        let grant = LeaseGrantRequest { ttl: TTL, id };
        store::apply(machine, Command::LeaseGrant(grant));
        let put = PutRequest { lease: id, ..store::put(id.unsigned_abs(), &values) };
        store::apply(machine, Command::Put(put));
    }
    machine.commit().expect("a commit");
}

fn expire<E: Engine>(machine: &mut StateMachine<E>) {
    let ids: Vec<i64> = (1..=LEASES).collect();
    let mut events = 0;
    for ids in ids.chunks(PER_ENTRY) {
        let expire = LeaseExpire { ids: ids.to_vec(), term: 1 };
        events += store::execute(machine, Command::LeaseExpire(expire)).events.len();
    }
    assert_eq!(events, ids.len(), "one deletion per lease");
}

fn revoke(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut machine = store::open(store::fjall(dir.path()), None);
    let mut group = c.benchmark_group("10,000 leases due at once");
    group.throughput(Throughput::Elements(LEASES.unsigned_abs()));
    group.sample_size(10);
    group.bench_function("state machine: expire, 500 per entry", |b| {
        b.iter_custom(|times| {
            let mut total = Duration::ZERO;
            for _ in 0..times {
                grant(&mut machine);
                let start = std::time::Instant::now();
                expire(&mut machine);
                total += start.elapsed();
            }
            total
        });
    });
    group.finish();
}

criterion_group!(benches, clock, revoke);
criterion_main!(benches);
