//! Who watches: on every member, through its shipped stream, resumed whenever it ends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::{Stream, StreamExt};
use http::HeaderMap;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use openraft_rt::AsyncRuntime;
use openraft_rt_sim::SimRuntime;
use prost::Message;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use vetch_proto::etcdserverpb as pb;
use vetch_server::rpc::body::framed;
use vetch_server::rpc::message::{MessageReader, ReceivedCounters};
use vetch_server::rpc::stream_end::StreamEnd;

use super::coverage::Reached;
use super::life::Life;
use super::world::World;
use crate::harness::watchers::record;
use crate::harness::wire;
use crate::history::{Event, KeyRange, Revision};
use crate::watch::{Filter, WatchRecord, WatchResponse, WatchSpec};

type Answers = std::pin::Pin<Box<dyn Stream<Item = Bytes> + Send>>;

/// One open Watch stream.
struct Connection {
    requests: UnboundedSender<Bytes>,
    answers: Answers,
    buffer: BytesMut,
    ready: VecDeque<pb::WatchResponse>,
}

impl Connection {
    fn open(life: &Arc<Life>) -> Self {
        let (requests, sent) = unbounded();
        let body = StreamBody::new(
            sent.map(|message: Bytes| Ok::<_, std::convert::Infallible>(Frame::data(message))),
        );
        let answers = life.process.run(|| {
            let counters = ReceivedCounters::default();
            let messages = MessageReader::new(&HeaderMap::new(), Box::pin(body), 1 << 20, counters);
            let messages = messages.expect("no encoding is asked for");
            let end = StreamEnd::new(life.stop.clone(), &life.api.leader_loss, false);
            vetch_server::watch::serve(Arc::clone(&life.api), messages, end).into_body()
        });
        let answers = answers.into_data_stream().map(Result::unwrap_or_default);
        let answers: Answers = Box::pin(life.process.enter_stream(answers));
        Self { requests, answers, buffer: BytesMut::new(), ready: VecDeque::new() }
    }

    fn send(&self, request: &pb::WatchRequest) {
        // A stream that has ended takes nothing.
        let _gone = self.requests.unbounded_send(framed(request));
    }

    /// The next answer; `None` when the stream has ended.
    async fn next(&mut self) -> Option<pb::WatchResponse> {
        loop {
            if let Some(answer) = self.ready.pop_front() {
                return Some(answer);
            }
            self.buffer.extend_from_slice(&self.answers.next().await?);
            while let Some(len) = self.buffer.get(1..5) {
                let len = u32::from_be_bytes(len.try_into().expect("four bytes")) as usize;
                if self.buffer.len() < 5 + len {
                    break;
                }
                self.buffer.advance(5);
                let answer = self.buffer.split_to(len).freeze();
                let answer = pb::WatchResponse::decode(answer).expect("it is a watch response");
                self.ready.push_back(answer);
            }
        }
    }
}

/// One watcher over all lives of its member, and on another one when that is in the group no more.
struct Watcher {
    world: Arc<World>,
    member: u64,
    spec: WatchSpec,
    random: SmallRng,
    /// First revision that has not been fully received.
    next: Option<Revision>,
    sessions: u32,
    slow: bool,
}

/// Begins to watch on `member`, in all the ways that the world's shape has.
pub(super) fn begin(world: &Arc<World>, member: u64) {
    for number in 0..world.shape.watchers {
        let watcher = Watcher::new(world, member, number);
        let world = Arc::clone(world);
        world.watcher_began();
        drop(SimRuntime::spawn(async move {
            watcher.run().await;
            world.watcher_ended();
        }));
    }
}

/// How often a watcher asks for progress; also how long it may take to notice that the run is over.
const ASK: Duration = Duration::from_millis(200);

impl Watcher {
    /// The `number` decides what kind of watcher it is.
    fn new(world: &Arc<World>, member: u64, number: u32) -> Self {
        let seed = world.shape.seed ^ (member << 16) ^ (u64::from(number) << 40) ^ 0x3a7c;
        let mut random = SmallRng::seed_from_u64(seed);
        let range = match random.random_range(0..5) {
            0 | 1 => KeyRange::all(),
            2 => KeyRange::single("key1"),
            3 => KeyRange::between("key0", "key3"),
            _ => KeyRange::between("held", "object2"),
        };
        let mut spec = WatchSpec::new(range);
        spec.prev_kv = random.random_bool(0.5);
        spec.fragment = random.random_bool(0.3);
        spec.progress_notify = random.random_bool(0.5);
        spec.filters.extend(match random.random_range(0..8) {
            0 => Some(Filter::NoPut),
            1 => Some(Filter::NoDelete),
            _ => None,
        });
        spec.start = random.random_bool(0.3).then_some(Revision(2));
        let (next, slow) = (spec.start, random.random_bool(0.4));
        Self { world: Arc::clone(world), member, spec, random, next, sessions: 0, slow }
    }

    /// Watches until the run is over and all has been told.
    async fn run(mut self) {
        while !self.is_done() {
            let ids = self.world.ids();
            if !ids.contains(&self.member)
                && let Some(other) = ids.choose(&mut self.random)
            {
                self.member = *other;
            }
            let Some(life) = self.world.serving(self.member) else {
                SimRuntime::sleep(Duration::from_millis(30)).await;
                continue;
            };
            self.session(&life).await;
            SimRuntime::sleep(Duration::from_millis(10)).await;
        }
    }

    fn is_done(&self) -> bool {
        self.world.watched_until().is_some_and(|last| self.next.is_some_and(|next| next > last))
    }

    async fn session(&mut self, life: &Arc<Life>) {
        let mut spec = self.spec.clone();
        spec.start = self.next;
        if self.sessions > 0 {
            self.world.coverage.reach(Reached::Resumed);
        }
        self.sessions += 1;
        let session = self.world.sessions.begin(spec.clone());
        let mut connection = Connection::open(life);
        connection.send(&wire::watch_request(&spec));
        // The client's machine may go away, too.
        let answers = self.random.random_range(20..400);
        for _ in 0..answers {
            if self.slow && self.random.random_ratio(1, 10) {
                let nap = Duration::from_millis(self.random.random_range(0..800));
                SimRuntime::sleep(nap).await;
            }
            let Ok(message) = SimRuntime::timeout(ASK, connection.next()).await else {
                if self.is_done() {
                    return;
                }
                connection.send(&wire::progress_request());
                continue;
            };
            let Some(message) = message else { return };
            let record = record(message, &self.world.recorder);
            let ended = self.follow(&record);
            self.world.trace.mix((self.member, session, &format!("{:?}", record.response)));
            self.world.sessions.record(session, record);
            if ended || self.is_done() {
                return;
            }
        }
    }

    /// Where to resume; true if the watch has ended.
    fn follow(&mut self, record: &WatchRecord) -> bool {
        let reached = match &record.response {
            WatchResponse::Created => {
                self.next = self.next.or(Some(record.revision.next()));
                return false;
            }
            WatchResponse::Canceled { compact_revision, .. } => {
                self.next = self.next.max(Some(*compact_revision));
                self.world.coverage.reach(Reached::WatchCompacted);
                return true;
            }
            // The rest of a revision follows: it is not fully received yet.
            WatchResponse::Events { fragment: true, .. } => return false,
            WatchResponse::Events { events, .. } => {
                self.world.coverage.add(Reached::Event, events.len() as u64);
                events.iter().map(Event::revision).max()
            }
            WatchResponse::Progress => Some(record.revision),
        };
        if let Some(reached) = reached {
            self.next = self.next.max(Some(reached.next()));
        }
        false
    }
}
