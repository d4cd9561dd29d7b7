//! A socket that sends clients away which ping too often.
//!
//! The HTTP library answers pings by itself and tells nobody. So the bytes are watched on their way:
//! of both directions only the frame headers, nothing is copied or held back. When a ping was one too
//! many, GOAWAY goes out between two frames of the library's, then the connection ends.

use std::collections::HashSet;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::frames::{ClientBytes, FrameHeader, FrameWalker, HEADER_BYTES, flag, kind};
use super::peer::Peer;
use super::pings::PingStrikes;

/// What gRPC's clients look for: they then ping half as often.
const DEBUG_DATA: &[u8] = b"too_many_pings";
/// HTTP/2's error code `ENHANCE_YOUR_CALM`.
const ENHANCE_YOUR_CALM: u32 = 0xb;
const GOAWAY_BYTES: usize = HEADER_BYTES + 8 + DEBUG_DATA.len();
/// How long a client that does not read may keep GOAWAY from going out.
const GOAWAY_PATIENCE: Duration = Duration::from_secs(5);
/// How long a client may take to leave after GOAWAY. Closed while bytes of its are unread, the socket
/// would be reset, and GOAWAY lost on the way.
const LEAVE_PATIENCE: Duration = Duration::from_secs(1);

/// A connection's socket, watched.
#[derive(Debug)]
pub(super) struct Policed<S> {
    socket: S,
    peer: Peer,
    inbound: ClientBytes,
    outbound: FrameWalker,
    /// `None`: pings are not counted.
    pings: Option<PingStrikes>,
    /// Streams that were opened and not ended by the server, nor reset.
    open: HashSet<u32>,
    /// The highest stream the client opened. All up to it may have been served.
    last_stream: u32,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// As any connection.
    Serving,
    /// GOAWAY waits for the frame under way to end, and for room.
    Warned { goaway: [u8; GOAWAY_BYTES], sent: usize, patience: Pin<Box<Sleep>> },
    /// GOAWAY is out. What the library still writes is dropped, and so is what the client sends.
    Leaving { patience: Pin<Box<Sleep>> },
}

impl<S> Policed<S> {
    /// Watches `socket`, at whose other end is `peer`; `min_time` is `--grpc-keepalive-min-time`,
    /// `None` for no policy.
    pub(super) fn new(socket: S, peer: Peer, min_time: Option<Duration>) -> Self {
        Self {
            socket,
            peer,
            inbound: ClientBytes::Preface(0),
            outbound: FrameWalker::default(),
            pings: min_time.map(PingStrikes::new),
            open: HashSet::new(),
            last_stream: 0,
            stage: Stage::Serving,
        }
    }

    fn received(&mut self, data: &[u8]) {
        let Self { inbound, pings: Some(pings), open, last_stream, .. } = self else { return };
        let mut too_many = false;
        inbound.walk(data, |frame| match frame.kind {
            kind::HEADERS if frame.stream > *last_stream => {
                *last_stream = frame.stream;
                open.insert(frame.stream);
            }
            kind::RST_STREAM => {
                open.remove(&frame.stream);
            }
            kind::PING if !frame.has(flag::ACK) => {
                too_many |= pings.on_ping(Instant::now(), !open.is_empty());
            }
            _other => {}
        });
        if too_many && matches!(self.stage, Stage::Serving) {
            let remote = &self.peer;
            tracing::info!(%remote, "too many pings from a client; closing its connection");
            let goaway = goaway(self.last_stream);
            let patience = Box::pin(sleep(GOAWAY_PATIENCE));
            self.stage = Stage::Warned { goaway, sent: 0, patience };
        }
    }

    /// Takes note of what went out.
    fn wrote(&mut self, data: &[u8]) {
        let Self { inbound, outbound, pings: Some(pings), open, .. } = self else { return };
        if inbound.may_be_http2() {
            outbound.walk(data, |frame| note_sent(frame, pings, open));
        }
    }
}

fn note_sent(frame: FrameHeader, pings: &mut PingStrikes, open: &mut HashSet<u32>) {
    match frame.kind {
        kind::DATA | kind::HEADERS => {
            pings.on_sent();
            if frame.has(flag::END_STREAM) {
                open.remove(&frame.stream);
            }
        }
        kind::RST_STREAM => {
            open.remove(&frame.stream);
        }
        _other => {}
    }
}

fn goaway(last_stream: u32) -> [u8; GOAWAY_BYTES] {
    let mut frame = [0; GOAWAY_BYTES];
    frame[2] = u8::try_from(GOAWAY_BYTES - HEADER_BYTES).unwrap_or(u8::MAX);
    frame[3] = kind::GOAWAY;
    frame[HEADER_BYTES..][..4].copy_from_slice(&last_stream.to_be_bytes());
    frame[HEADER_BYTES + 4..][..4].copy_from_slice(&ENHANCE_YOUR_CALM.to_be_bytes());
    frame[HEADER_BYTES + 8..].copy_from_slice(DEBUG_DATA);
    frame
}

fn sent_away() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the client pinged too often")
}

impl<S: AsyncRead + AsyncWrite + Unpin> Policed<S> {
    /// Sends the client away; ready with the connection's error when it has gone, or was given up.
    /// Between two frames only.
    fn poll_send_away(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if let Stage::Warned { goaway, sent, patience } = &mut self.stage {
            if patience.as_mut().poll(cx).is_ready() {
                return Poll::Ready(sent_away());
            }
            if self.outbound.until_boundary() > 0 {
                // The rest of the frame is the library's to write; it has a waker for that.
                return Poll::Pending;
            }
            while let Some(rest) = goaway.get(*sent..).filter(|rest| !rest.is_empty()) {
                match ready!(Pin::new(&mut self.socket).poll_write(cx, rest)) {
                    Ok(0) => return Poll::Ready(io::ErrorKind::WriteZero.into()),
                    Ok(written) => *sent += written,
                    Err(error) => return Poll::Ready(error),
                }
            }
            if let Err(error) = ready!(Pin::new(&mut self.socket).poll_flush(cx)) {
                return Poll::Ready(error);
            }
            self.stage = Stage::Leaving { patience: Box::pin(sleep(LEAVE_PATIENCE)) };
        }
        self.poll_leave(cx)
    }

    fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Stage::Leaving { patience } = &mut self.stage else { return Poll::Pending };
        if patience.as_mut().poll(cx).is_ready() {
            return Poll::Ready(sent_away());
        }
        // Pending only where ending takes a message (TLS): it goes out along with the reading.
        if let Poll::Ready(Err(error)) = Pin::new(&mut self.socket).poll_shutdown(cx) {
            return Poll::Ready(error);
        }
        let mut scratch = [0; 1024];
        loop {
            let mut dropped = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.socket).poll_read(cx, &mut dropped)) {
                Ok(()) if dropped.filled().is_empty() => return Poll::Ready(sent_away()),
                Ok(()) => {}
                Err(error) => return Poll::Ready(error),
            }
        }
    }

    /// A write once the client is to go: the frame under way is finished, no other begun.
    fn poll_last_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let rest = self.outbound.until_boundary().min(buf.len());
        if let Stage::Warned { patience, .. } = &mut self.stage
            && rest > 0
        {
            if patience.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(sent_away()));
            }
            let allowed = buf.get(..rest).unwrap_or_default();
            let written = ready!(Pin::new(&mut self.socket).poll_write(cx, allowed))?;
            self.wrote(allowed.get(..written).unwrap_or_default());
            return Poll::Ready(Ok(written));
        }
        match self.poll_send_away(cx) {
            Poll::Ready(error) => Poll::Ready(Err(error)),
            Poll::Pending if matches!(self.stage, Stage::Leaving { .. }) => {
                Poll::Ready(Ok(buf.len()))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Policed<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !matches!(this.stage, Stage::Serving) {
            return this.poll_send_away(cx).map(Err);
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.socket).poll_read(cx, buf))?;
        this.received(buf.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Policed<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !matches!(this.stage, Stage::Serving) {
            return this.poll_last_write(cx, buf);
        }
        let written = ready!(Pin::new(&mut this.socket).poll_write(cx, buf))?;
        this.wrote(buf.get(..written).unwrap_or_default());
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !matches!(this.stage, Stage::Serving) {
            let first = bufs.iter().find(|buf| !buf.is_empty());
            return this.poll_last_write(cx, first.map_or(&[][..], |buf| buf));
        }
        let written = ready!(Pin::new(&mut this.socket).poll_write_vectored(cx, bufs))?;
        let mut left = written;
        for buf in bufs {
            let part = left.min(buf.len());
            this.wrote(buf.get(..part).unwrap_or_default());
            left -= part;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if matches!(this.stage, Stage::Leaving { .. }) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
