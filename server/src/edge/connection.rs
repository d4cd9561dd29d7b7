//! One connection, HTTP/1 or HTTP/2 by its first bytes.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::peer::Peer;
use super::policed::Policed;
use super::service::Served;
use super::socket::Accepted;
use super::tls::Tls;

/// Transport settings, from the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Transport {
    /// HTTP/2 streams per connection (`--max-concurrent-streams`).
    pub max_concurrent_streams: u32,
    /// Clients that ping more often are sent away (`--grpc-keepalive-min-time`); `None` none.
    pub keepalive_min_time: Option<Duration>,
    /// Idle time after which the server pings (`--grpc-keepalive-interval`); `None` never.
    pub keepalive_interval: Option<Duration>,
    /// How long a ping may go unanswered (`--grpc-keepalive-timeout`).
    pub keepalive_timeout: Duration,
    /// How long a client may take for the head of an HTTP/1 request.
    pub header_timeout: Duration,
    /// Bytes a client may send ahead on one stream.
    pub stream_window: u32,
}

/// Bytes a client may send ahead on a whole connection; large so that many streams never starve one.
const CONNECTION_WINDOW: u32 = 64 * 1024 * 1024;
/// A request's metadata, tokens included.
const MAX_HEADER_LIST_BYTES: u32 = 16 * 1024 * 1024;
/// Streams a client may cancel before we have seen them. grpc-go cancels thousands of watches at
/// once; a low bound would cost it the connection.
const MAX_PENDING_RESETS: usize = 100_000;
/// Bytes of answers buffered per stream before the body has to wait.
const SEND_BUFFER_BYTES: usize = 512 * 1024;

/// Builds the HTTP server that all connections of a listener share.
pub fn builder(transport: Transport) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(transport.header_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        // Never adaptive: its small-frame accounting ends a stream of many small requests.
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_stream_window_size(transport.stream_window)
        .max_concurrent_streams(transport.max_concurrent_streams)
        .max_header_list_size(MAX_HEADER_LIST_BYTES)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_PENDING_RESETS)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .keep_alive_interval(transport.keepalive_interval)
        .keep_alive_timeout(transport.keepalive_timeout);
    builder
}

/// How connections end when the node stops.
#[derive(Clone, Debug, Default)]
pub struct Ending {
    /// No new connection or request is taken; what is under way may finish.
    pub drain: CancellationToken,
    /// What has not finished is cut.
    pub cut: CancellationToken,
}

/// A connection to be served.
#[derive(Debug)]
pub(super) struct Connection<S> {
    pub(super) builder: Builder<TokioExecutor>,
    /// [`Transport::keepalive_min_time`].
    pub(super) min_time: Option<Duration>,
    /// Who is at the other end.
    pub(super) peer: Peer,
    pub(super) service: S,
    pub(super) ending: Ending,
}

impl<S: Served> Connection<S> {
    /// Serves it on the runtime this is called on, until it ends by itself, or as `ending` says.
    pub(super) async fn serve(self, socket: Accepted, tls: Option<Arc<Tls>>) {
        let (peer, drain) = (self.peer, self.ending.drain.clone());
        let socket = match socket.adopt() {
            Ok(socket) => socket,
            Err(error) => {
                tracing::debug!(%error, "connection was gone before it was served");
                return;
            }
        };
        let Some(tls) = tls else { return self.serve_http(socket).await };
        let shaken = tokio::select! {
            shaken = tls.accept(socket) => shaken,
            () = drain.cancelled() => return,
        };
        match shaken {
            Ok(socket) => self.serve_http(socket).await,
            Err(error) => {
                tracing::warn!(remote = %peer, %error, "rejected connection: no TLS handshake");
            }
        }
    }

    async fn serve_http<Io>(self, socket: Io)
    where
        Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Self { builder, min_time, peer, service, ending } = self;
        let socket = Policed::new(socket, peer, min_time);
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(socket), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = ending.drain.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection => ended,
                    () = ending.cut.cancelled() => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(error, "connection ended");
        }
    }
}
