//! Bodies of answers: one message, or messages framed as they are read.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use prost::Message;
use tonic::Status;

/// The five bytes before a gRPC message: not compressed, then its length.
pub const PREFIX_BYTES: usize = 5;

/// The body of any answer on the client port. The usual one needs no allocation of its own.
#[derive(Debug)]
pub enum AnswerBody {
    /// One gRPC message and the trailers of success.
    One(OneMessage),
    /// Anything else.
    Stream(UnsyncBoxBody<Bytes, Infallible>),
}

impl AnswerBody {
    /// Any body that cannot fail.
    pub fn new(body: impl Body<Data = Bytes, Error = Infallible> + Send + 'static) -> Self {
        Self::Stream(UnsyncBoxBody::new(body))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::One(body) => Pin::new(body).poll_frame(cx),
            Self::Stream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::One(body) => body.is_end_stream(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::One(body) => body.size_hint(),
            Self::Stream(body) => body.size_hint(),
        }
    }
}

/// Writes a message's prefix.
pub fn put_prefix(buffer: &mut BytesMut, message_len: u32) {
    buffer.put_u8(0);
    buffer.put_u32(message_len);
}

/// A message with its prefix.
pub fn framed(message: &impl Message) -> Bytes {
    let len = message.encoded_len();
    let mut buffer = BytesMut::with_capacity(PREFIX_BYTES + len);
    // Only answers far below 4 GiB come here; larger ones are streamed and check their length.
    put_prefix(&mut buffer, u32::try_from(len).unwrap_or(u32::MAX));
    message.encode_raw(&mut buffer);
    buffer.freeze()
}

/// The trailers of a call that went well.
pub fn ok_trailers() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers
}

/// The trailers of a call that failed.
pub fn status_trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        // A text that cannot be a header value: the code alone must do.
        trailers.insert("grpc-status", HeaderValue::from(i32::from(status.code())));
    }
    trailers
}

/// A gRPC answer that streams `body`.
pub fn respond<B>(body: B) -> Response<AnswerBody>
where
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    respond_body(AnswerBody::new(body))
}

fn respond_body(body: AnswerBody) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// A gRPC answer of one message.
pub fn respond_with(message: &impl Message) -> Response<AnswerBody> {
    respond_framed(framed(message))
}

/// A gRPC answer of one message, prefix included.
pub fn respond_framed(message: Bytes) -> Response<AnswerBody> {
    respond_body(AnswerBody::One(OneMessage::new(message)))
}

/// A gRPC answer that is only a refusal.
pub fn refuse(status: impl Into<Status>) -> Response<AnswerBody> {
    let mut response = respond(http_body_util::Empty::new());
    let trailers = status_trailers(&status.into());
    response.headers_mut().extend(trailers);
    response
}

/// One whole message, then the trailers of success.
#[derive(Debug)]
pub struct OneMessage {
    message: Option<Bytes>,
    trailers_sent: bool,
}

impl OneMessage {
    /// `framed` begins with its prefix.
    pub fn new(framed: Bytes) -> Self {
        Self { message: Some(framed), trailers_sent: false }
    }
}

impl Body for OneMessage {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(message) = self.message.take() {
            return Poll::Ready(Some(Ok(Frame::data(message))));
        }
        if self.trailers_sent {
            return Poll::Ready(None);
        }
        self.trailers_sent = true;
        Poll::Ready(Some(Ok(Frame::trailers(ok_trailers()))))
    }

    fn is_end_stream(&self) -> bool {
        self.trailers_sent
    }
}
