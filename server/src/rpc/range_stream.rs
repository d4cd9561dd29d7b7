//! KV.RangeStream: a list as a stream of messages at one revision, read as the client takes them.
//!
//! The view pins its history, so no compaction ends the stream half-way, as it can in etcd.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use futures::stream::{self, Stream};
use http::Response;
use http_body::Frame;
use http_body_util::StreamBody;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use tokio::sync::OwnedSemaphorePermit;
use vetch_proto::etcdserverpb::{RangeRequest, ResponseHeader};
use vetch_raft::Platform;
use vetch_storage::Engine;
use vetch_storage::view::RangeAnswer;

use super::api::Api;
use super::body::{
    AnswerBody, PREFIX_BYTES, ok_trailers, put_prefix, refuse, respond, status_trailers,
};
use super::range_body::{ANSWER_BYTES, header_field, read_piece, select, tail};
use super::status::Refusal;
use super::{slow, validate};

/// The first message is small, so that a reader has something at once; later ones double.
const FIRST_MESSAGE_BYTES: usize = 4 * 1024;

/// KV.RangeStream, as the response to send.
pub async fn range_stream<P: Platform>(
    api: &Arc<Api<P>>,
    request: RangeRequest,
) -> Response<AnswerBody> {
    let began = Instant::now();
    let sending = begin(api, &request).await;
    api.measure_range(began, sending.is_ok(), || slow::range(&request));
    match sending {
        Ok(state) => respond(StreamBody::new(frames(state))),
        Err(refusal) => refuse(refusal),
    }
}

async fn begin<P: Platform>(
    api: &Arc<Api<P>>,
    request: &RangeRequest,
) -> Result<Sending<P>, Refusal> {
    validate::range_stream(request)?;
    let view = api.read_view(request.serializable).await?;
    let answer = select(api, &view, request).await?;
    let permit = api.budget.reserve(ANSWER_BYTES)?;
    let header = api.header(answer.revision());
    Ok(Sending { api: Arc::clone(api), header, message_bytes: FIRST_MESSAGE_BYTES, permit, answer })
}

struct Sending<P: Platform> {
    api: Arc<Api<P>>,
    header: ResponseHeader,
    message_bytes: usize,
    permit: OwnedSemaphorePermit,
    answer: RangeAnswer<P::Engine>,
}

enum Step<P: Platform> {
    Records(Box<Sending<P>>),
    Trailers,
    End,
}

fn frames<P: Platform>(
    sending: Sending<P>,
) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send {
    stream::unfold(Step::Records(Box::new(sending)), |step| async {
        let (frame, next) = match step {
            Step::Records(sending) => match sending.message().await {
                Ok((message, next)) => (Frame::data(message), next),
                Err(refusal) => return Some(failed(refusal)),
            },
            Step::Trailers => (Frame::trailers(ok_trailers()), Step::End),
            Step::End => return None,
        };
        Some((Ok(frame), next))
    })
}

fn failed<P: Platform>(refusal: Refusal) -> (Result<Frame<Bytes>, Infallible>, Step<P>) {
    (Ok(Frame::trailers(status_trailers(&refusal.into()))), Step::End)
}

impl<P: Platform> Sending<P> {
    /// The next message, and what comes after it. The last one carries header, more and count.
    async fn message(mut self: Box<Self>) -> Result<(Bytes, Step<P>), Refusal> {
        let records = if self.answer.remaining() == 0 {
            Bytes::new()
        } else {
            let Self { api, header, message_bytes, permit, answer } = *self;
            let (answer, read) = read_piece(answer, message_bytes)
                .await
                .map_err(|_cancelled_at_shutdown| Refusal::Stopped)?;
            let records = read.map_err(|fatal| api.stop(fatal))?;
            self = Box::new(Self { api, header, message_bytes, permit, answer });
            records
        };
        if self.answer.remaining() == 0 {
            return Ok((last(&self.header, &records, &self.answer), Step::Trailers));
        }
        self.message_bytes = (self.message_bytes * 2).min(ANSWER_BYTES / 2);
        Ok((frame(&[&records]), Step::Records(self)))
    }
}

fn last<E: Engine>(header: &ResponseHeader, records: &[u8], answer: &RangeAnswer<E>) -> Bytes {
    frame(&[&header_field(header), records, &tail(answer)])
}

/// A RangeStreamResponse whose `range_response` is the concatenation of encoded fields.
fn frame(fields: &[&[u8]]) -> Bytes {
    let inner: usize = fields.iter().map(|field| field.len()).sum();
    let len = key_len(1) + encoded_len_varint(inner as u64) + inner;
    let mut message = BytesMut::with_capacity(PREFIX_BYTES + len);
    put_prefix(&mut message, u32::try_from(len).unwrap_or(u32::MAX));
    encode_key(1, WireType::LengthDelimited, &mut message);
    encode_varint(inner as u64, &mut message);
    for field in fields {
        message.extend_from_slice(field);
    }
    message.freeze()
}
