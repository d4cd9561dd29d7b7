//! KV.Range. A small answer is one buffer; a large one is framed from lengths the index knows and
//! then read from the engine piece by piece as the client takes it, so that its memory is one piece
//! whatever its size, and no piece holds up the runtime.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response};
use http_body::{Body, Frame};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use vetch_proto::etcdserverpb::{RangeRequest, ResponseHeader};
use vetch_raft::Platform;
use vetch_storage::error::ReadError;
use vetch_storage::mvcc::key_range::KeyRange;
use vetch_storage::view::RangeAnswer;
use vetch_storage::{Engine, Fatal, ReadView};

use super::api::Api;
use super::body::{
    AnswerBody, PREFIX_BYTES, ok_trailers, put_prefix, refuse, respond, respond_framed,
    status_trailers,
};
use super::status::Refusal;
use super::{slow, validate};
use crate::metrics::KeyOperations;

/// Answers up to this size are built at once, on the runtime that got the request.
const INLINE_BYTES: u64 = 64 * 1024;
/// Ranges up to this many keys are looked up on the runtime that got the request.
pub(super) const INLINE_KEYS: u64 = 2_000;
/// What one read for a large answer fetches.
const PIECE_BYTES: usize = 256 * 1024;
/// What a large answer holds at the most: a piece being sent and a piece being read.
pub(super) const ANSWER_BYTES: usize = 2 * PIECE_BYTES;

/// The memory all large answers of a node share. A large answer that finds none left is refused,
/// rather than the process killed.
#[derive(Clone, Debug)]
pub struct AnswerBudget {
    kibibytes: Arc<Semaphore>,
}

impl AnswerBudget {
    /// A budget of this many bytes.
    pub fn new(bytes: usize) -> Self {
        let permits = (bytes / 1024).min(Semaphore::MAX_PERMITS);
        Self { kibibytes: Arc::new(Semaphore::new(permits)) }
    }

    /// Takes `bytes` until the permit is dropped.
    pub fn reserve(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let kibibytes = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        Arc::clone(&self.kibibytes)
            .try_acquire_many_owned(kibibytes)
            .map_err(|_exhausted_or_closed| Refusal::AnswerBudgetExhausted)
    }
}

/// KV.Range, as the response to send.
pub async fn range<P: Platform>(api: &Arc<Api<P>>, request: RangeRequest) -> Response<AnswerBody> {
    if !request.serializable && api.replica.is_learner() {
        return refuse(Refusal::NotForLearner);
    }
    let began = Instant::now();
    let answer = answer(api, &request).await;
    api.measure_range(began, answer.is_ok(), || slow::range(&request));
    match answer {
        Ok(response) => response,
        Err(refusal) => refuse(refusal),
    }
}

async fn answer<P: Platform>(
    api: &Arc<Api<P>>,
    request: &RangeRequest,
) -> Result<Response<AnswerBody>, Refusal> {
    validate::range(request)?;
    let view = api.read_view(request.serializable).await?;
    let mut answer = select(api, &view, request).await?;
    let header = api.header(answer.revision());
    if answer.encoded_len() <= INLINE_BYTES {
        let message = whole(&header, &mut answer).map_err(|fatal| api.stop(fatal))?;
        return Ok(respond_framed(message));
    }
    let permit = api.budget.reserve(ANSWER_BYTES)?;
    let body = LargeAnswer::new(Arc::clone(api), &header, answer, permit)?;
    Ok(respond(body))
}

/// As [`look_up`], counted and measured.
pub(super) async fn select<P: Platform>(
    api: &Api<P>,
    view: &ReadView<P::Engine>,
    request: &RangeRequest,
) -> Result<RangeAnswer<P::Engine>, Refusal> {
    let began = Instant::now();
    let answer = look_up(api, view, request).await;
    api.metrics.requests.range_execution.observe(answer.is_ok(), began.elapsed());
    if answer.is_ok() {
        api.metrics.mvcc.count(KeyOperations { ranges: 1, ..Default::default() });
    }
    answer
}

/// Looks the range up: at once when that is quick, else on the pool for long reads.
async fn look_up<P: Platform>(
    api: &Api<P>,
    view: &ReadView<P::Engine>,
    request: &RangeRequest,
) -> Result<RangeAnswer<P::Engine>, Refusal> {
    let range = KeyRange::new(request.key.clone(), request.range_end.clone());
    let is_single = matches!(range, KeyRange::Single(_));
    let is_quick = is_single || request.count_only && request.revision <= 0;
    let limited = request.limit > 0
        && request.limit.unsigned_abs() <= INLINE_KEYS
        && request.revision <= 0
        && validate::is_in_key_order(request);
    if is_quick || limited || view.index().count(&range) <= INLINE_KEYS {
        return view.range(request).map_err(|error| api.read_failed(error));
    }
    let (view, request) = (view.clone(), request.clone());
    let selected = tokio::task::spawn_blocking(move || {
        let answer = view.range(&request)?;
        // Walks the index, and the answer keeps it: not on the runtime, where it is asked for next.
        answer.encoded_len();
        Ok(answer)
    })
    .await;
    match selected {
        Ok(answer) => answer.map_err(|error: ReadError| api.read_failed(error)),
        Err(_cancelled_at_shutdown) => Err(Refusal::Stopped),
    }
}

/// The fields after `kvs`.
pub(super) fn tail<E: Engine>(answer: &RangeAnswer<E>) -> BytesMut {
    let mut tail = BytesMut::new();
    if answer.more() {
        prost::encoding::bool::encode(3, &true, &mut tail);
    }
    if answer.count() > 0 {
        let count = i64::try_from(answer.count()).unwrap_or(i64::MAX);
        prost::encoding::int64::encode(4, &count, &mut tail);
    }
    tail
}

/// The header field, encoded.
pub(crate) fn header_field(header: &ResponseHeader) -> BytesMut {
    let len = header.encoded_len();
    let mut field = BytesMut::with_capacity(key_len(1) + encoded_len_varint(len as u64) + len);
    encode_key(1, WireType::LengthDelimited, &mut field);
    encode_varint(len as u64, &mut field);
    header.encode_raw(&mut field);
    field
}

fn whole<E: Engine>(header: &ResponseHeader, answer: &mut RangeAnswer<E>) -> Result<Bytes, Fatal> {
    let (head, tail) = (header_field(header), tail(answer));
    let records_len = usize::try_from(answer.encoded_len()).unwrap_or(usize::MAX);
    let len = head.len() + records_len + tail.len();
    let mut message = BytesMut::with_capacity(PREFIX_BYTES + len);
    put_prefix(&mut message, u32::try_from(len).unwrap_or(u32::MAX));
    message.extend_from_slice(&head);
    while answer.remaining() > 0 {
        message.extend_from_slice(&answer.next_chunk(records_len)?);
    }
    message.extend_from_slice(&tail);
    assert_eq!(message.len(), PREFIX_BYTES + len, "the index knew the lengths of all records");
    Ok(message.freeze())
}

/// A read on the pool: the answer comes back with its next piece.
pub(super) type Piece<E> = JoinHandle<(RangeAnswer<E>, Result<Bytes, Fatal>)>;

/// Starts reading the next piece of about `bytes`.
pub(super) fn read_piece<E: Engine>(mut answer: RangeAnswer<E>, bytes: usize) -> Piece<E> {
    tokio::task::spawn_blocking(move || {
        let piece = answer.next_chunk(bytes);
        (answer, piece)
    })
}

enum State<E: Engine> {
    Head(Bytes, Box<RangeAnswer<E>>),
    Reading(Piece<E>),
    Tail,
    Trailers(HeaderMap),
    End,
}

/// A large RangeResponse on its way out.
struct LargeAnswer<P: Platform> {
    api: Arc<Api<P>>,
    state: State<P::Engine>,
    tail: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl<P: Platform> LargeAnswer<P> {
    fn new(
        api: Arc<Api<P>>,
        header: &ResponseHeader,
        answer: RangeAnswer<P::Engine>,
        permit: OwnedSemaphorePermit,
    ) -> Result<Self, Refusal> {
        let (header, tail) = (header_field(header), tail(&answer).freeze());
        let len = header.len() as u64 + answer.encoded_len() + tail.len() as u64;
        let len = u32::try_from(len).map_err(|_too_large| Refusal::AnswerTooLarge)?;
        let mut head = BytesMut::with_capacity(PREFIX_BYTES + header.len());
        put_prefix(&mut head, len);
        head.extend_from_slice(&header);
        Ok(Self { api, state: State::Head(head.freeze(), Box::new(answer)), tail, _permit: permit })
    }

    fn after(answer: RangeAnswer<P::Engine>) -> State<P::Engine> {
        if answer.remaining() == 0 {
            State::Tail
        } else {
            State::Reading(read_piece(answer, PIECE_BYTES))
        }
    }
}

impl<P: Platform> Body for LargeAnswer<P> {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        loop {
            match std::mem::replace(&mut self.state, State::End) {
                State::Head(head, answer) => {
                    self.state = Self::after(*answer);
                    return Poll::Ready(Some(Ok(Frame::data(head))));
                }
                State::Reading(mut piece) => {
                    let Poll::Ready(read) = Pin::new(&mut piece).poll(cx) else {
                        self.state = State::Reading(piece);
                        return Poll::Pending;
                    };
                    let refusal = match read {
                        Ok((answer, Ok(bytes))) => {
                            self.state = Self::after(answer);
                            return Poll::Ready(Some(Ok(Frame::data(bytes))));
                        }
                        Ok((_, Err(fatal))) => self.api.stop(fatal),
                        Err(_cancelled_at_shutdown) => Refusal::Stopped,
                    };
                    self.state = State::Trailers(status_trailers(&refusal.into()));
                }
                State::Tail => {
                    self.state = State::Trailers(ok_trailers());
                    let tail = std::mem::take(&mut self.tail);
                    if !tail.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(tail))));
                    }
                }
                State::Trailers(trailers) => {
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                State::End => return Poll::Ready(None),
            }
        }
    }
}
