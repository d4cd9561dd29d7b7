//! gRPC's framing of request messages, read from an HTTP body.

use std::io::Read;

use bytes::{Buf, Bytes, BytesMut};
use flate2::read::GzDecoder;
use http::HeaderMap;
use http_body::Body;
use http_body_util::BodyExt;
use prost::Message;
use tonic::{Code, Status};

use super::body::PREFIX_BYTES;
use crate::metrics::Counter;

/// How the messages of a request are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Identity,
    Gzip,
}

/// Takes the messages of a request out of its body, one by one.
///
/// Bounded: a message that announces more than the limit is refused before it is read.
#[derive(Debug)]
pub struct MessageReader<B> {
    body: B,
    buffer: BytesMut,
    encoding: Encoding,
    max_bytes: usize,
    counters: ReceivedCounters,
}

/// What a reader counts.
#[derive(Clone, Debug, Default)]
pub struct ReceivedCounters {
    /// Messages.
    pub messages: Counter,
    /// Bytes, prefixes included.
    pub bytes: Counter,
    /// Requests of a stream that could not be read, other than by the client's leaving.
    pub failures: Option<Counter>,
}

impl<B> MessageReader<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    /// A reader of the body that came with `headers`.
    pub fn new(
        headers: &HeaderMap,
        body: B,
        max_bytes: usize,
        counters: ReceivedCounters,
    ) -> Result<Self, Status> {
        let encoding = match headers.get("grpc-encoding").map(http::HeaderValue::as_bytes) {
            None | Some(b"identity") => Encoding::Identity,
            Some(b"gzip") => Encoding::Gzip,
            Some(other) => {
                let name = String::from_utf8_lossy(other);
                return Err(Status::unimplemented(format!(
                    "grpc: Decompressor is not installed for grpc-encoding {name:?}"
                )));
            }
        };
        Ok(Self { body, buffer: BytesMut::new(), encoding, max_bytes, counters })
    }

    /// The next message; `None` when the client has sent all.
    pub async fn next<M: Message + Default>(&mut self) -> Result<Option<M>, Status> {
        let message = self.next_message().await;
        if let (Err(status), Some(failures)) = (&message, &self.counters.failures)
            && status.code() != Code::Cancelled
        {
            failures.inc();
        }
        message
    }

    async fn next_message<M: Message + Default>(&mut self) -> Result<Option<M>, Status> {
        let Some(bytes) = self.next_bytes().await? else { return Ok(None) };
        M::decode(bytes).map(Some).map_err(|error| {
            Status::internal(format!("grpc: error unmarshalling request: {error}"))
        })
    }

    /// The only message of a unary request.
    pub async fn only<M: Message + Default>(&mut self) -> Result<M, Status> {
        let message = self.next().await?;
        message.ok_or_else(|| Status::internal("grpc: the request has no message"))
    }

    async fn next_bytes(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(message) = self.take_message()? {
                return Ok(Some(message));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.push(data);
                    }
                }
                Some(Err(error)) => return Err(Status::cancelled(format!("{error}"))),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(Status::internal("grpc: the request ends inside a message")),
            }
        }
    }

    /// Keeps the bytes of a frame that is alone in the buffer without copying them.
    fn push(&mut self, data: Bytes) {
        if self.buffer.is_empty() {
            self.buffer = data.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        } else {
            self.buffer.extend_from_slice(&data);
        }
    }

    fn take_message(&mut self) -> Result<Option<Bytes>, Status> {
        let Some((prefix, rest)) = self.buffer.split_first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        let [flag, len @ ..] = *prefix;
        let len = u32::from_be_bytes(len) as usize;
        if len > self.max_bytes {
            return Err(too_large(len, self.max_bytes));
        }
        if rest.len() < len {
            return Ok(None);
        }
        self.buffer.advance(PREFIX_BYTES);
        let message = self.buffer.split_to(len).freeze();
        self.counters.messages.inc();
        self.counters.bytes.add((PREFIX_BYTES + len) as u64);
        match (flag, self.encoding) {
            (0, _) => Ok(Some(message)),
            (1, Encoding::Gzip) => self.gunzip(&message).map(Some),
            (1, Encoding::Identity) => {
                Err(Status::internal("grpc: compressed flag set with identity or empty encoding"))
            }
            (other, _) => {
                Err(Status::internal(format!("grpc: received unexpected payload format {other}")))
            }
        }
    }

    fn gunzip(&self, message: &[u8]) -> Result<Bytes, Status> {
        let mut plain = Vec::new();
        let mut decoder = GzDecoder::new(message).take(self.max_bytes as u64 + 1);
        decoder.read_to_end(&mut plain).map_err(|error| {
            Status::internal(format!("grpc: failed to decompress the received message: {error}"))
        })?;
        if plain.len() > self.max_bytes {
            return Err(too_large(plain.len(), self.max_bytes));
        }
        Ok(plain.into())
    }
}

fn too_large(len: usize, max: usize) -> Status {
    Status::new(
        Code::ResourceExhausted,
        format!("grpc: received message larger than max ({len} vs. {max})"),
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use futures::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;
    use vetch_proto::etcdserverpb::PutRequest;

    use super::*;

    fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
        let mut framed = vec![flag];
        framed.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
        framed.extend_from_slice(message);
        framed
    }

    fn body(
        chunks: Vec<Vec<u8>>,
    ) -> impl Body<Data = Bytes, Error = std::convert::Infallible> + Unpin {
        StreamBody::new(stream::iter(
            chunks.into_iter().map(|chunk| Ok(Frame::data(Bytes::from(chunk)))),
        ))
    }

    fn put(key: &'static str) -> PutRequest {
        PutRequest { key: Bytes::from(key), ..Default::default() }
    }

    #[tokio::test]
    async fn messages_are_found_however_the_body_is_cut() {
        let bytes: Vec<u8> =
            ["a", "bc", ""].iter().flat_map(|key| framed(0, &put(key).encode_to_vec())).collect();
        for size in 1..=bytes.len() {
            let chunks = bytes.chunks(size).map(<[u8]>::to_vec).collect();
            let mut reader = MessageReader::new(
                &HeaderMap::new(),
                body(chunks),
                100,
                ReceivedCounters::default(),
            )
            .unwrap();
            let mut keys = Vec::new();
            while let Some(put) = reader.next::<PutRequest>().await.unwrap() {
                keys.push(put.key);
            }
            assert_eq!(keys, ["a", "bc", ""], "cut into pieces of {size}");
        }
    }

    #[tokio::test]
    async fn a_message_over_the_limit_is_refused_in_grpc_gos_words() {
        let mut reader = MessageReader::new(
            &HeaderMap::new(),
            body(vec![framed(0, &[0; 11])]),
            10,
            ReceivedCounters::default(),
        )
        .unwrap();
        let status = reader.next::<PutRequest>().await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.message(), "grpc: received message larger than max (11 vs. 10)");
    }

    #[tokio::test]
    async fn gzip_is_understood_and_bounded_after_inflation() {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-encoding", "gzip".parse().unwrap());
        let zip = |message: &[u8]| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(message).unwrap();
            framed(1, &encoder.finish().unwrap())
        };
        let chunks = vec![zip(&put("k").encode_to_vec()), zip(&[0; 5000])];
        let mut reader =
            MessageReader::new(&headers, body(chunks), 1000, ReceivedCounters::default()).unwrap();
        assert_eq!(reader.only::<PutRequest>().await.unwrap(), put("k"));
        let status = reader.next::<PutRequest>().await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
    }

    #[tokio::test]
    async fn a_request_that_ends_inside_a_message_is_refused() {
        let mut cut = framed(0, &put("key").encode_to_vec());
        cut.pop();
        let mut reader = MessageReader::new(
            &HeaderMap::new(),
            body(vec![cut]),
            100,
            ReceivedCounters::default(),
        )
        .unwrap();
        assert_eq!(reader.next::<PutRequest>().await.unwrap_err().code(), Code::Internal);
    }
}
