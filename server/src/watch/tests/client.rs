//! A Watch stream as its client has it: requests go out at once, answers are read on demand.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::{Stream, StreamExt};
use http::HeaderMap;
use http_body::{Body, Frame};
use http_body_util::StreamBody;
use prost::Message;
use vetch_proto::etcdserverpb::watch_request::RequestUnion;
use vetch_proto::etcdserverpb::{
    WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use vetch_raft::platform::sim::Sim;

use crate::rpc::Api;
use crate::rpc::body::{AnswerBody, framed};
use crate::rpc::message::{MessageReader, ReceivedCounters};
use crate::rpc::stream_end::StreamEnd;

pub(super) struct Client {
    requests: Option<UnboundedSender<Bytes>>,
    answers: AnswerBody,
    buffer: BytesMut,
    /// The status the stream ended with.
    pub(super) ended: Option<HeaderMap>,
}

impl Client {
    pub(super) fn new(api: &Arc<Api<Sim>>) -> Self {
        let (requests, sent) = unbounded();
        let messages = MessageReader::new(
            &HeaderMap::new(),
            Box::pin(request_body(sent)),
            1 << 20,
            ReceivedCounters::default(),
        );
        let end = StreamEnd::new(api.stopping.clone(), &api.leader_loss, false);
        let answers = crate::watch::serve(Arc::clone(api), messages.unwrap(), end).into_body();
        Self { requests: Some(requests), answers, buffer: BytesMut::new(), ended: None }
    }

    /// Sends a request; nothing happens when the stream has ended.
    pub(super) fn send(&self, request: RequestUnion) {
        let message = WatchRequest { request_union: Some(request) };
        if let Some(requests) = &self.requests {
            drop(requests.unbounded_send(framed(&message)));
        }
    }

    pub(super) fn create(&self, request: WatchCreateRequest) {
        self.send(RequestUnion::CreateRequest(request));
    }

    pub(super) fn cancel(&self, watch_id: i64) {
        self.send(RequestUnion::CancelRequest(WatchCancelRequest { watch_id }));
    }

    pub(super) fn progress(&self) {
        self.send(RequestUnion::ProgressRequest(WatchProgressRequest {}));
    }

    /// Says that no more requests will come.
    pub(super) fn half_close(&mut self) {
        self.requests = None;
    }

    /// The next answer that is there already.
    pub(super) fn next(&mut self) -> Option<WatchResponse> {
        loop {
            if let Some(answer) = self.take() {
                return Some(answer);
            }
            let mut context = Context::from_waker(Waker::noop());
            match Pin::new(&mut self.answers).poll_frame(&mut context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        // Clients count empty frames, and take some hundred for an attack.
                        assert!(!data.is_empty(), "an empty frame");
                        self.buffer.extend_from_slice(&data);
                    }
                    Err(frame) => self.ended = frame.into_trailers().ok(),
                },
                Poll::Ready(None) | Poll::Pending => return None,
            }
        }
    }

    /// All answers that are there already.
    pub(super) fn read(&mut self) -> Vec<WatchResponse> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// Reads, and lets the server go on, until nothing more comes.
    pub(super) async fn read_all(&mut self) -> Vec<WatchResponse> {
        let mut all = Vec::new();
        loop {
            super::member::settle().await;
            let more = self.read();
            if more.is_empty() {
                return all;
            }
            all.extend(more);
        }
    }

    /// The code the stream ended with, as it stands in the trailers.
    pub(super) fn status(&self) -> Option<&str> {
        self.ended.as_ref()?.get("grpc-status")?.to_str().ok()
    }

    fn take(&mut self) -> Option<WatchResponse> {
        let len = u32::from_be_bytes(self.buffer.get(1..5)?.try_into().ok()?) as usize;
        if self.buffer.len() < 5 + len {
            return None;
        }
        self.buffer.advance(5);
        Some(WatchResponse::decode(self.buffer.split_to(len).freeze()).unwrap())
    }
}

fn request_body(
    messages: impl Stream<Item = Bytes>,
) -> impl Body<Data = Bytes, Error = std::convert::Infallible> {
    StreamBody::new(messages.map(|message| Ok(Frame::data(message))))
}
