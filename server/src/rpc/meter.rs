//! Counts what goes out: messages, bytes, and how each call ends.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use tonic::Code;

use super::body::{AnswerBody, PREFIX_BYTES};
use super::method::{Method, Shape};
use crate::edge::peer::Peer;
use crate::metrics::Metrics;

/// An answer's body that counts itself. Of an answer that is not gRPC nothing is counted.
#[derive(Debug)]
pub struct Metered {
    body: AnswerBody,
    call: Option<Call>,
}

/// A call under way. Dropped before its end, its client went away.
#[derive(Debug)]
pub struct Call {
    metrics: Arc<Metrics>,
    method: Method,
    messages: MessageCounter,
    code: Option<Code>,
    client: Peer,
    began: Instant,
    warn_after: Duration,
    sent_bytes: usize,
}

impl Call {
    /// A call that begins now. A unary one that takes longer than `warn_after` is logged.
    pub fn start(
        metrics: &Arc<Metrics>,
        method: Method,
        client: Peer,
        warn_after: Duration,
    ) -> Self {
        metrics.rpc.method(method).started.inc();
        Self {
            metrics: Arc::clone(metrics),
            method,
            messages: MessageCounter::default(),
            code: None,
            client,
            began: Instant::now(),
            warn_after,
            sent_bytes: 0,
        }
    }

    /// Follows the call to the end of its answer.
    pub fn follow(mut self, response: Response<AnswerBody>) -> Response<Metered> {
        self.code = code(response.headers());
        response.map(|body| Metered { body, call: Some(self) })
    }

    fn sent(&mut self, data: &Bytes) {
        self.metrics.network.client_sent.add(data.len() as u64);
        self.sent_bytes += data.len();
        let messages = self.messages.count(data);
        self.metrics.rpc.method(self.method).sent.add(messages);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let code = self.code.unwrap_or(Code::Cancelled);
        let took = self.began.elapsed();
        self.metrics.rpc.method(self.method).ended(code, took);
        if self.method.shape() == Shape::Unary && took > self.warn_after {
            self.warn(took);
        }
    }
}

impl Call {
    /// As etcd logs requests slower than `--warning-unary-request-duration`.
    fn warn(&self, took: Duration) {
        let start_time = chrono::Utc::now() - took;
        tracing::warn!(
            { keys::START_TIME } = %start_time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
            { keys::TIME_SPENT } = ?took,
            remote = %self.client,
            { keys::RESPONSE_TYPE } = self.method.path(),
            { keys::RESPONSE_SIZE } = self.sent_bytes,
            "request stats"
        );
    }
}

/// etcd's keys of that line, which have spaces.
mod keys {
    pub(super) const START_TIME: &str = "start time";
    pub(super) const TIME_SPENT: &str = "time spent";
    pub(super) const RESPONSE_TYPE: &str = "response type";
    pub(super) const RESPONSE_SIZE: &str = "response size";
}

fn code(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|status| Code::from_bytes(status.as_bytes()))
}

/// An answer that is not counted.
pub fn unmetered(response: Response<AnswerBody>) -> Response<Metered> {
    response.map(|body| Metered { body, call: None })
}

impl Body for Metered {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let (Poll::Ready(Some(Ok(frame))), Some(call)) = (&polled, &mut self.call) {
            if let Some(data) = frame.data_ref() {
                call.sent(data);
            } else if let Some(trailers) = frame.trailers_ref() {
                call.code = code(trailers);
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Finds where messages begin in a stream that is cut anywhere.
#[derive(Debug, Default)]
struct MessageCounter {
    prefix: [u8; PREFIX_BYTES],
    prefix_len: usize,
    /// Bytes of the present message still to come.
    left: usize,
}

impl MessageCounter {
    /// How many messages begin in `data`.
    fn count(&mut self, mut data: &[u8]) -> u64 {
        let mut messages = 0;
        while !data.is_empty() {
            let body = self.left.min(data.len());
            self.left -= body;
            data = data.get(body..).unwrap_or_default();
            for byte in data.iter().take(PREFIX_BYTES - self.prefix_len) {
                self.prefix[self.prefix_len] = *byte;
                self.prefix_len += 1;
                data = data.get(1..).unwrap_or_default();
            }
            if self.prefix_len == PREFIX_BYTES {
                let [_flag, len @ ..] = self.prefix;
                self.left = u32::from_be_bytes(len) as usize;
                self.prefix_len = 0;
                messages += 1;
            }
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_however_the_stream_is_cut() {
        let stream =
            [[0, 0, 0, 0, 3].as_slice(), &[9; 3], &[0, 0, 0, 0, 0], &[0, 0, 0, 1, 0], &[7; 256]]
                .concat();
        for size in 1..=stream.len() {
            let mut counter = MessageCounter::default();
            let counted: u64 = stream.chunks(size).map(|chunk| counter.count(chunk)).sum();
            assert_eq!(counted, 3, "cut into pieces of {size}");
        }
    }
}
