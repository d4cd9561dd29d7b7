//! Random interleavings: writes, compactions, watchers from past and future, readers that stop
//! reading, cancellations, requests for progress, and snapshots installed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use vetch_proto::etcdserverpb::watch_request::RequestUnion;
use vetch_proto::etcdserverpb::{
    CompactionRequest, WatchCancelRequest, WatchCreateRequest, WatchProgressRequest,
};
use vetch_proto::vetchpb::proposal::Command;

use super::client::Client;
use super::history::{History, Write, command, delete};
use super::member::{Member, SMALL, pass, run};
use super::record::{End, Record, StreamRecord};

/// Streams of one run.
const STREAMS: usize = 2;

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A put, a deletion, or a transaction of several; a number is the length of a value.
    Write(Vec<(u8, Option<u16>)>),
    /// The deletion of a range.
    DeleteRange(u8, u8),
    /// Up to so many revisions ago.
    Compact(i64),
    /// The start is so many revisions ahead.
    Create(usize, WatchCreateRequest, Start),
    Cancel(usize, i64),
    Progress(usize),
    /// Takes so many answers.
    Read(usize, u8),
    Rest(u64),
    /// The hub hears of nothing until the next one, as on a member that lags; then it gets it all as
    /// a snapshot.
    Lag,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Start {
    Now,
    Ahead(i64),
    Negative,
}

fn key(number: u8) -> Bytes {
    Bytes::from(vec![b'a' + number % 6])
}

fn writes() -> impl Strategy<Value = Vec<(u8, Option<u16>)>> {
    let len = prop_oneof![8 => 0u16..40, 1 => 200u16..700];
    let value = prop_oneof![3 => len.prop_map(Some), 1 => Just(None)];
    let write = (0u8..6, value);
    prop_oneof![
        4 => prop::collection::vec(write.clone(), 1..2),
        1 => prop::collection::vec(write, 2..6),
    ]
}

fn create() -> impl Strategy<Value = WatchCreateRequest> {
    let range = prop_oneof![
        2 => (0u8..6).prop_map(|k| (key(k), Bytes::new())),
        2 => (0u8..6, 0u8..6).prop_map(|(a, b)| (key(a), key(b))),
        1 => (0u8..6).prop_map(|k| (key(k), Bytes::from_static(&[0]))),
        2 => Just((Bytes::new(), Bytes::from_static(&[0]))),
    ];
    let filters = prop_oneof![4 => Just(vec![]), 1 => Just(vec![0]), 1 => Just(vec![1]), 1 => Just(vec![1, 0])];
    // Not -1, though etcd takes it: its progress could not be told from that of the whole stream.
    let id = prop_oneof![6 => Just(0i64), 1 => 1i64..5, 1 => Just(-2)];
    (range, filters, id, any::<[bool; 3]>()).prop_map(
        |((key, range_end), filters, watch_id, [prev_kv, fragment, progress_notify])| {
            WatchCreateRequest {
                key,
                range_end,
                start_revision: 0,
                progress_notify,
                filters,
                prev_kv,
                watch_id,
                fragment,
            }
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let start = prop_oneof![
        4 => Just(Start::Now),
        6 => (-60i64..4).prop_map(Start::Ahead),
        1 => Just(Start::Negative),
    ];
    let stream = 0..STREAMS;
    prop_oneof![
        20 => writes().prop_map(Step::Write),
        2 => (0u8..6, 0u8..7).prop_map(|(a, b)| Step::DeleteRange(a, b)),
        2 => (0i64..30).prop_map(Step::Compact),
        6 => (stream.clone(), create(), start).prop_map(|(s, c, at)| Step::Create(s, c, at)),
        2 => (stream.clone(), -2i64..6).prop_map(|(s, id)| Step::Cancel(s, id)),
        3 => stream.clone().prop_map(Step::Progress),
        6 => (stream, 1u8..6).prop_map(|(s, answers)| Step::Read(s, answers)),
        4 => (1u64..80).prop_map(Step::Rest),
        1 => Just(Step::Lag),
    ]
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..120)
}

struct Run {
    member: Arc<Member>,
    history: History,
    clients: Vec<Client>,
    streams: Vec<StreamRecord>,
}

/// Carries out the steps, then reads everything, and resumes every watcher once.
pub(super) fn carry_out(steps: &[Step], seed: u64) -> Record {
    run(seed, SMALL, |member| async {
        let clients = (0..STREAMS).map(|_| member.client()).collect();
        let streams = vec![StreamRecord::default(); STREAMS];
        let mut run = Run { member, history: History::default(), clients, streams };
        for step in steps {
            run.step(step).await;
        }
        run.member.lag(false);
        for stream in 0..STREAMS {
            run.read_all(stream).await;
            run.ask(stream, RequestUnion::ProgressRequest(WatchProgressRequest {}));
            run.read_all(stream).await;
        }
        let resumed = run.resume(seed).await;
        assert_eq!(run.member.revision(), run.history.revision, "the model is the store");
        Record { history: run.history, streams: run.streams, resumed }
    })
}

impl Run {
    async fn step(&mut self, step: &Step) {
        match step {
            Step::Write(writes) => self.write(writes).await,
            Step::DeleteRange(from, to) => {
                let (start, end) = (key(*from), Bytes::from(vec![b'a' + to]));
                let writes: Vec<Write> =
                    self.history.keys_in(&start, &end).into_iter().map(|key| (key, None)).collect();
                self.history.write(&writes);
                self.member.propose(Command::DeleteRange(delete(start, end))).await;
            }
            Step::Compact(back) => {
                let revision = self.history.revision - back;
                if revision > self.history.compacted.max(1) {
                    self.history.compacted = revision;
                    let request = CompactionRequest { revision, physical: false };
                    self.member.propose(Command::Compaction(request)).await;
                }
            }
            Step::Create(stream, request, start) => {
                let start_revision = match start {
                    Start::Now => 0,
                    Start::Ahead(by) => (self.history.revision + by).max(1),
                    Start::Negative => -1,
                };
                let request = WatchCreateRequest { start_revision, ..request.clone() };
                self.ask(*stream, RequestUnion::CreateRequest(request));
            }
            Step::Cancel(stream, watch_id) => {
                let request = WatchCancelRequest { watch_id: *watch_id };
                self.ask(*stream, RequestUnion::CancelRequest(request));
            }
            Step::Progress(stream) => {
                self.ask(*stream, RequestUnion::ProgressRequest(WatchProgressRequest {}));
            }
            Step::Read(stream, answers) => {
                for _ in 0..*answers {
                    self.streams[*stream].heard.extend(self.clients[*stream].next());
                }
            }
            Step::Rest(millis) => pass(Duration::from_millis(*millis)).await,
            Step::Lag => self.member.lag(!self.member.lags()),
        }
    }

    async fn write(&mut self, writes: &[(u8, Option<u16>)]) {
        let mut distinct: Vec<Write> = Vec::new();
        for (number, len) in writes {
            let value = len.map(|len| Bytes::from(vec![*number; len.into()]));
            if distinct.iter().all(|(other, _)| *other != key(*number)) {
                distinct.push((key(*number), value));
            }
        }
        self.history.write(&distinct);
        self.member.propose(command(&distinct)).await;
    }

    fn ask(&mut self, stream: usize, request: RequestUnion) {
        self.streams[stream].asked.push(request.clone());
        self.clients[stream].send(request);
    }

    async fn read_all(&mut self, stream: usize) {
        let heard = self.clients[stream].read_all().await;
        self.streams[stream].heard.extend(heard);
        assert_eq!(self.clients[stream].status(), None, "the stream is open");
    }

    /// Watches again, for every watcher still open, from behind some event it has heard.
    async fn resume(&mut self, seed: u64) -> Vec<(usize, usize, i64)> {
        let mut resumed = Vec::new();
        for stream in 0..STREAMS {
            let Ok(watchers) = self.streams[stream].watchers() else { continue };
            for (number, watcher) in watchers.iter().enumerate() {
                let revisions = watcher.events().filter_map(|e| Some(e.kv.as_ref()?.mod_revision));
                let left = |revision: &i64| *revision + 1 >= self.history.compacted;
                let possible: Vec<i64> = revisions.filter(left).collect();
                let chosen = usize::try_from(seed).unwrap_or(0) % possible.len().max(1);
                let Some(until) = possible.get(chosen).copied() else { continue };
                if watcher.end != End::Open {
                    continue;
                }
                let request =
                    WatchCreateRequest { start_revision: until + 1, ..watcher.request.clone() };
                self.clients.push(self.member.client());
                self.streams.push(StreamRecord::default());
                self.ask(self.streams.len() - 1, RequestUnion::CreateRequest(request));
                self.read_all(self.streams.len() - 1).await;
                resumed.push((stream, number, until));
            }
        }
        resumed
    }
}
