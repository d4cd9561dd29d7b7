//! One event to 1,000 watchers of one key, 100 per stream: who is concerned, into the outboxes, and
//! out of them as encoded bytes. Framing and sending are in `compare --rows watch`.
//!
//! `cargo bench -p vetch-benches --bench watch`

use std::hint::black_box;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use smallvec::smallvec;
use vetch_benches::dataset::{Values, key};
use vetch_proto::vetchpb::proposal::Command;
use vetch_server::watch::interest::{Interest, WatcherKey};
use vetch_server::watch::outbox::{Item, Next, Outbox, Selected, WatcherInfo};
use vetch_server::watch::shared_batch::SharedBatch;
use vetch_storage::engine::mem::MemEngine;
use vetch_storage::mvcc::key_range::KeyRange;
use vetch_storage::{EventBatch, ReadView};

#[expect(dead_code, reason = "every benchmark uses its part")]
mod store;

const WATCHERS: u64 = 1_000;
const STREAMS: u64 = 10;

struct Fan {
    interest: Interest,
    watchers: Vec<Arc<WatcherInfo>>,
    outboxes: Vec<Outbox>,
}

impl Fan {
    fn new() -> Self {
        let mut interest = Interest::default();
        let mut watchers = Vec::new();
        for number in 0..WATCHERS {
            let range = KeyRange::Single(key(0));
            interest.add(&range, WatcherKey(number));
            watchers.push(Arc::new(WatcherInfo {
                watch_id: (number / STREAMS).cast_signed(),
                range,
                no_put: false,
                no_delete: false,
                prev_kv: false,
                fragment: false,
                progress_notify: false,
            }));
        }
        let outboxes = (0..STREAMS).map(|_| Outbox::new(16 << 20, Arc::default())).collect();
        Self { interest, watchers, outboxes }
    }

    /// What the hub does with a revision of one event.
    fn publish(&self, batch: &Arc<SharedBatch>) {
        self.interest.concerned(batch.events()[0].key(), &mut |WatcherKey(number)| {
            let number = usize::try_from(number).expect("few watchers");
            let watcher = &self.watchers[number];
            if watcher.wants(&batch.events()[0]) {
                let selected = Selected { batch: Arc::clone(batch), positions: smallvec![0] };
                self.outboxes[number % self.outboxes.len()].push(Item::Events {
                    watcher: Arc::clone(watcher),
                    header_revision: batch.revision(),
                    revisions: smallvec![selected],
                });
            }
        });
    }

    /// What the streams' bodies do: each watcher's events as encoded bytes.
    fn drain(&self) -> u64 {
        let context = Context::from_waker(Waker::noop());
        let mut delivered = 0;
        for outbox in &self.outboxes {
            while let Poll::Ready(Next::Item(Item::Events { revisions, .. })) =
                outbox.poll_next(&context)
            {
                for selected in &revisions {
                    let history: Option<&ReadView<MemEngine>> = None;
                    black_box(selected.batch.encoded(0, history).expect("an event"));
                    delivered += 1;
                }
            }
        }
        delivered
    }
}

fn fan_out(c: &mut Criterion) {
    let mut machine = store::open(Arc::new(MemEngine::new()), None);
    let put = store::put(0, &Values::new(store::VALUE));
    let applied = store::execute(&mut machine, Command::Put(put));
    let event: &Arc<EventBatch> = applied.events.first().expect("a put is an event");
    let fan = Fan::new();
    let mut group = c.benchmark_group("watch");
    group.throughput(Throughput::Elements(WATCHERS));
    group.bench_function("one event to 1,000 watchers of one key", |b| {
        b.iter(|| {
            fan.publish(&Arc::new(SharedBatch::new(Arc::clone(event))));
            assert_eq!(fan.drain(), WATCHERS);
        });
    });
    group.finish();
}

criterion_group!(benches, fan_out);
criterion_main!(benches);
