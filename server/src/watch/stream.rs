//! One client stream: its requests, in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::Body;
use vetch_proto::etcdserverpb::watch_create_request::FilterType;
use vetch_proto::etcdserverpb::watch_request::RequestUnion;
use vetch_proto::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use vetch_raft::{AsyncRuntime, Platform};
use vetch_storage::Revision;
use vetch_storage::mvcc::key_range::KeyRange;

use super::body::WatchBody;
use super::interest::WatcherKey;
use super::outbox::{Item, Outbox, WatcherInfo};
use crate::rpc::Api;
use crate::rpc::body::{AnswerBody, framed, respond};
use crate::rpc::message::MessageReader;
use crate::rpc::stream_end::StreamEnd;

/// The watch id of answers that are no watcher's: failed creations and requested progress.
const NO_WATCHER: i64 = -1;

const DUPLICATE_ID: &str = "mvcc: duplicate watch ID provided on the WatchStream";
const EMPTY_RANGE: &str = "mvcc: watcher range is empty";
const NEGATIVE_START: &str = "etcdserver: mvcc: required revision has been compacted";

/// Serves one Watch stream.
pub fn serve<P, B>(
    api: Arc<Api<P>>,
    messages: MessageReader<B>,
    end: StreamEnd,
) -> Response<AnswerBody>
where
    P: Platform,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::fmt::Display,
{
    let outbox = Arc::new(Outbox::new(
        api.watch.settings().outbox_bytes,
        Arc::clone(&api.watch.metrics.pending_events),
    ));
    let number = api.watch.metrics.streams.fetch_add(1, Ordering::Relaxed);
    let stream = Stream {
        api: Arc::clone(&api),
        outbox: Arc::clone(&outbox),
        end,
        watchers: BTreeMap::new(),
        next_id: 0,
        interval: jittered(api.watch.settings().progress_interval, number.cast_unsigned()),
    };
    drop(P::Runtime::spawn(stream.run(messages)));
    respond(WatchBody::new(api, outbox))
}

/// The interval plus up to a tenth of it, so that streams do not all tick at once.
fn jittered(interval: Duration, stream: u64) -> Duration {
    interval + interval / 10 * u32::try_from(stream % 16).unwrap_or(0) / 16
}

struct Stream<P: Platform> {
    api: Arc<Api<P>>,
    outbox: Arc<Outbox>,
    end: StreamEnd,
    watchers: BTreeMap<i64, WatcherKey>,
    /// The next automatic id; skips those in use, never goes back.
    next_id: i64,
    interval: Duration,
}

impl<P: Platform> Stream<P> {
    /// Handles requests and ticks until the client is gone. The end of the requests alone does not
    /// end the stream.
    async fn run<B>(mut self, mut messages: MessageReader<B>)
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: std::fmt::Display,
    {
        let mut tick = Box::pin(P::Runtime::sleep(self.interval));
        let mut is_half_closed = false;
        loop {
            tokio::select! {
                biased;
                () = self.outbox.over() => break,
                refusal = self.end.reached() => {
                    self.outbox.end(refusal.into());
                    break;
                }
                () = &mut tick => {
                    self.tick();
                    tick = Box::pin(P::Runtime::sleep(self.interval));
                }
                request = messages.next::<WatchRequest>(), if !is_half_closed => match request {
                    Ok(Some(request)) => self.handle(request),
                    Ok(None) => is_half_closed = true,
                    Err(status) => {
                        self.outbox.end(status);
                        break;
                    }
                },
            }
        }
        for key in self.watchers.values() {
            self.api.watch.cancel(*key, |_revision| ());
        }
        self.api.watch.metrics.streams.fetch_sub(1, Ordering::Relaxed);
    }

    fn handle(&mut self, request: WatchRequest) {
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => self.create(&create),
            Some(RequestUnion::CancelRequest(cancel)) => self.cancel(cancel.watch_id),
            Some(RequestUnion::ProgressRequest(_)) => self.progress(),
            // etcd ignores an empty request.
            None => {}
        }
    }

    fn create(&mut self, request: &WatchCreateRequest) {
        // Checked before the range, as etcd does.
        if request.start_revision < 0 {
            return self.refuse(NEGATIVE_START);
        }
        let range = match watched_range(request) {
            Ok(range) => range,
            Err(reason) => return self.refuse(reason),
        };
        let Some(watch_id) = self.choose_id(request.watch_id) else {
            return self.refuse(DUPLICATE_ID);
        };
        let info = WatcherInfo {
            watch_id,
            range,
            no_put: request.filters().any(|filter| filter == FilterType::Noput),
            no_delete: request.filters().any(|filter| filter == FilterType::Nodelete),
            prev_kv: request.prev_kv,
            fragment: request.fragment,
            progress_notify: request.progress_notify,
        };
        let outbox = Arc::clone(&self.outbox);
        let start = Revision(request.start_revision);
        let key = self.api.watch.create(info, outbox, start, |revision| {
            self.answer(revision, WatchResponse { watch_id, created: true, ..Default::default() });
        });
        self.watchers.insert(watch_id, key);
    }

    fn choose_id(&mut self, asked: i64) -> Option<i64> {
        if asked != 0 {
            return (!self.watchers.contains_key(&asked)).then_some(asked);
        }
        while self.watchers.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        let id = self.next_id;
        self.next_id += 1;
        Some(id)
    }

    /// Answers a creation that fails at once.
    fn refuse(&self, reason: &str) {
        let response = WatchResponse {
            watch_id: NO_WATCHER,
            created: true,
            canceled: true,
            cancel_reason: reason.to_owned(),
            ..Default::default()
        };
        self.api.watch.with_revision(|revision| self.answer(revision, response));
    }

    /// Cancels a watcher; silence when there is none of that id.
    fn cancel(&mut self, watch_id: i64) {
        let Some(key) = self.watchers.remove(&watch_id) else { return };
        self.api.watch.cancel(key, |revision| {
            self.answer(revision, WatchResponse { watch_id, canceled: true, ..Default::default() });
        });
    }

    fn progress(&self) {
        let keys: Vec<WatcherKey> = self.watchers.values().copied().collect();
        self.api.watch.progress(&keys, |revision| {
            self.answer(revision, WatchResponse { watch_id: NO_WATCHER, ..Default::default() });
        });
    }

    fn tick(&self) {
        let keys: Vec<WatcherKey> = self.watchers.values().copied().collect();
        self.api.watch.tick(&keys, |watch_id, revision| {
            self.answer(revision, WatchResponse { watch_id, ..Default::default() });
        });
    }

    fn answer(&self, revision: Revision, mut response: WatchResponse) {
        response.header = Some(self.api.header(revision));
        self.outbox.push(Item::Control(framed(&response)));
    }
}

/// The keys a creation names; an empty key is the smallest one.
fn watched_range(request: &WatchCreateRequest) -> Result<KeyRange, &'static str> {
    let key = if request.key.is_empty() { Bytes::from_static(&[0]) } else { request.key.clone() };
    let range = KeyRange::new(key, request.range_end.clone());
    match &range {
        KeyRange::HalfOpen { start, end } if end <= start => Err(EMPTY_RANGE),
        KeyRange::Single(_) | KeyRange::HalfOpen { .. } | KeyRange::From(_) => Ok(range),
    }
}
