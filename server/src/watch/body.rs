//! A Watch stream's answers: shared event bytes, framed for one stream.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use prost::encoding::encoded_len_varint;
use smallvec::SmallVec;
use vetch_proto::etcdserverpb::WatchResponse;
use vetch_raft::Platform;
use vetch_storage::{Fatal, Planted, Revision};

use super::outbox::{Item, Next, Outbox, Selected, WatcherInfo};
use crate::rpc::Api;
use crate::rpc::body::{PREFIX_BYTES, framed, put_prefix, status_trailers};
use crate::rpc::range_body::header_field;

/// How much is gathered into one frame before it is given to the connection.
const FRAME_BYTES: usize = 64 * 1024;
/// Events from this size on are passed on as they are instead of copied together.
const OWN_FRAME_BYTES: usize = 16 * 1024;

/// The body of one stream. Dropping it closes the outbox.
pub(super) struct WatchBody<P: Platform> {
    api: Arc<Api<P>>,
    outbox: Arc<Outbox>,
    ready: VecDeque<Bytes>,
    is_over: bool,
}

impl<P: Platform> WatchBody<P> {
    pub(super) fn new(api: Arc<Api<P>>, outbox: Arc<Outbox>) -> Self {
        Self { api, outbox, ready: VecDeque::new(), is_over: false }
    }

    /// Frames a watcher's events: as one response, or as several if it asked for that and they are
    /// many.
    fn frame_events(
        &mut self,
        buffer: &mut BytesMut,
        watcher: &WatcherInfo,
        header_revision: Revision,
        revisions: &[Selected],
    ) -> Result<(), Fatal> {
        let history = watcher.prev_kv.then(|| self.api.replica.view());
        let mut events = SmallVec::<[Bytes; 4]>::new();
        for selected in revisions {
            for position in &selected.positions {
                events.push(selected.batch.encoded(*position as usize, history.as_ref())?);
            }
        }
        let limit =
            if watcher.fragment { self.api.watch.settings().fragment_bytes } else { usize::MAX };
        let mut rest = events.as_slice();
        while !rest.is_empty() {
            let count = fitting(rest, limit);
            let (now, later) = rest.split_at(count);
            rest = later;
            let is_fragment = !later.is_empty() && !Planted::FragmentUnmarked.is_on();
            self.frame_response(buffer, watcher.watch_id, header_revision, now, is_fragment);
        }
        Ok(())
    }

    fn frame_response(
        &mut self,
        buffer: &mut BytesMut,
        watch_id: i64,
        header_revision: Revision,
        events: &[Bytes],
        is_fragment: bool,
    ) {
        let header = header_field(&self.api.header(header_revision));
        // As the protocol has it, a watch id of 0 is left out; a negative one takes ten bytes.
        let id = watch_id.cast_unsigned();
        let id_len = if id == 0 { 0 } else { 1 + encoded_len_varint(id) };
        let fragment_len = if is_fragment { 2 } else { 0 };
        let len =
            header.len() + id_len + fragment_len + events.iter().map(Bytes::len).sum::<usize>();
        buffer.reserve(PREFIX_BYTES + len.min(FRAME_BYTES));
        put_prefix(buffer, u32::try_from(len).unwrap_or(u32::MAX));
        buffer.extend_from_slice(&header);
        if id != 0 {
            prost::encoding::int64::encode(2, &watch_id, buffer);
        }
        if is_fragment {
            prost::encoding::bool::encode(7, &true, buffer);
        }
        for event in events {
            if event.len() < OWN_FRAME_BYTES {
                buffer.extend_from_slice(event);
            } else {
                // Never an empty frame: clients count them, and leave after some.
                if !buffer.is_empty() {
                    self.ready.push_back(buffer.split().freeze());
                }
                self.ready.push_back(event.clone());
            }
        }
    }

    /// The answer that ends a watcher whose next revision was compacted: its header has no revision.
    fn compacted_response(&self, watch_id: i64, compacted: Revision) -> Bytes {
        framed(&WatchResponse {
            header: Some(self.api.header_without_revision()),
            watch_id,
            canceled: true,
            compact_revision: compacted.get(),
            ..Default::default()
        })
    }

    /// Takes items out of the outbox until a frame's worth is ready.
    fn gather(&mut self, cx: &Context<'_>) -> Option<tonic::Status> {
        let mut buffer = BytesMut::new();
        let mut ended = None;
        while buffer.len() < FRAME_BYTES && self.ready.is_empty() {
            match self.outbox.poll_next(cx) {
                Poll::Ready(Next::Item(Item::Control(frame))) => buffer.extend_from_slice(&frame),
                Poll::Ready(Next::Item(Item::Compacted { watch_id, compacted })) => {
                    buffer.extend_from_slice(&self.compacted_response(watch_id, compacted));
                }
                Poll::Ready(Next::Item(Item::Events { watcher, header_revision, revisions })) => {
                    let framed =
                        self.frame_events(&mut buffer, &watcher, header_revision, &revisions);
                    if let Err(fatal) = framed {
                        self.outbox.fail(self.api.stop(fatal).into());
                    }
                }
                Poll::Ready(Next::Ended(status)) => {
                    ended = Some(status);
                    break;
                }
                Poll::Pending => break,
            }
        }
        if !buffer.is_empty() {
            self.ready.push_back(buffer.freeze());
        }
        ended
    }
}

/// How many of `events` make one response; at least one.
fn fitting(events: &[Bytes], limit: usize) -> usize {
    let mut bytes = 0;
    let fits = events.iter().take_while(|event| {
        bytes += event.len();
        bytes <= limit
    });
    fits.count().max(1)
}

impl<P: Platform> Body for WatchBody<P> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let ended = if self.ready.is_empty() { self.gather(cx) } else { None };
        if let Some(frame) = self.ready.pop_front() {
            // Should the stream have ended behind this frame, the outbox says so again.
            return Poll::Ready(Some(Ok(Frame::data(frame))));
        }
        let Some(status) = ended else { return Poll::Pending };
        self.is_over = true;
        Poll::Ready(Some(Ok(Frame::trailers(status_trailers(&status)))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }
}

impl<P: Platform> Drop for WatchBody<P> {
    fn drop(&mut self) {
        self.outbox.close();
    }
}
