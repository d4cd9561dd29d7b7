//! One connection to one peer.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use openraft_rt::AsyncRuntime;
use openraft_rt_tokio::TokioRuntime;
use parking_lot::Mutex;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use vetch_proto::vetchpb::peer_client::PeerClient;
use vetch_storage::NodeId;

use super::dial::{Connector, Dial};
use crate::transport::observer::PeerTraffic;
use crate::transport::{Addresses, LinkError};

/// Longest wait for a connection.
pub(super) const DIAL_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection whose peer answers no ping for this long, on top of the period, is dead. TCP alone
/// would try for minutes.
const PING_TIMEOUT: Duration = Duration::from_secs(1);
const PING_PERIOD: Duration = Duration::from_secs(1);
/// Entries under way to a slow peer: enough for a fast link's round trip.
const WINDOW_BYTES: u32 = 16 << 20;

/// Dialled when it is needed, shared by who needs it.
pub(super) struct Connection {
    target: NodeId,
    addresses: Addresses,
    dial: Arc<dyn Dial>,
    traffic: Arc<dyn PeerTraffic>,
    open: Mutex<Option<PeerClient<Channel>>>,
    /// One dials; the others wait and share.
    dialling: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("target", &self.target)
            .field("open", &self.open.lock().is_some())
            .finish_non_exhaustive()
    }
}

impl Connection {
    pub(super) fn new(
        target: NodeId,
        addresses: Addresses,
        dial: Arc<dyn Dial>,
        traffic: Arc<dyn PeerTraffic>,
    ) -> Self {
        let (open, dialling) = (Mutex::new(None), tokio::sync::Mutex::new(()));
        Self { target, addresses, dial, traffic, open, dialling }
    }

    /// Who hears what passes between this member and the peer, here or on another connection.
    pub(super) fn traffic(&self) -> &Arc<dyn PeerTraffic> {
        &self.traffic
    }

    /// So many bytes are handed over.
    pub(super) fn sends(&self, bytes: usize) {
        self.traffic.sent(bytes);
    }

    /// An answer of so many bytes came, or none.
    pub(super) fn heard(&self, answer: Result<usize, &LinkError>) {
        match answer {
            Ok(bytes) => {
                self.traffic.received(bytes);
                self.traffic.reached(true);
            }
            Err(error) => {
                self.traffic.send_failed();
                if matches!(error, LinkError::Unreachable(_)) {
                    self.traffic.reached(false);
                }
            }
        }
    }

    /// A heartbeat and its answer took so long.
    pub(super) fn round_trip(&self, took: Duration) {
        self.traffic.round_trip(took);
    }

    /// The open connection, or a new one.
    pub(super) fn client(
        self: Arc<Self>,
        within: Duration,
    ) -> BoxFuture<'static, Result<PeerClient<Channel>, LinkError>> {
        async move {
            match TokioRuntime::timeout(within.min(DIAL_TIMEOUT), self.dial()).await {
                Ok(client) => client,
                Err(_) => Err(LinkError::Unreachable("no connection in time".to_owned())),
            }
        }
        .boxed()
    }

    async fn dial(&self) -> Result<PeerClient<Channel>, LinkError> {
        if let Some(client) = self.open.lock().clone() {
            return Ok(client);
        }
        let _turn = self.dialling.lock().await;
        if let Some(client) = self.open.lock().clone() {
            return Ok(client);
        }
        let mut reason = format!("no peer URL of member {:x} is known", self.target.0);
        for url in (self.addresses)(self.target) {
            match dial_one(&url, &self.dial).await {
                Ok(channel) => {
                    let client = PeerClient::new(channel)
                        .max_decoding_message_size(usize::MAX)
                        .max_encoding_message_size(usize::MAX);
                    *self.open.lock() = Some(client.clone());
                    return Ok(client);
                }
                Err(error) => reason = format!("{url}: {error}"),
            }
        }
        Err(LinkError::Unreachable(reason))
    }

    /// Drops the connection a call failed on, and says whether the call may have been heard.
    pub(super) fn failed(&self, status: &Status) -> LinkError {
        self.open.lock().take();
        let mut source = status.source();
        while let Some(error) = source {
            if error.is::<tonic::ConnectError>() {
                return LinkError::Unreachable(error.to_string());
            }
            source = error.source();
        }
        if status.code() == Code::FailedPrecondition {
            // Only our own service says so, before it looks at the message.
            return LinkError::Unreachable(status.message().to_owned());
        }
        LinkError::Lost(format!("{}: {}", status.code(), status.message()))
    }
}

pub(super) async fn dial_one(url: &str, dial: &Arc<dyn Dial>) -> Result<Channel, String> {
    // What the requests say of their way: whatever that is, below it is no business of theirs.
    let authority = match url.split_once("://") {
        Some((_, authority)) if !authority.contains('/') => authority,
        _a_file => "localhost",
    };
    let endpoint = Endpoint::from_shared(format!("http://{authority}"));
    let endpoint = endpoint.map_err(|error| error.to_string())?;
    let endpoint = endpoint
        .connect_timeout(DIAL_TIMEOUT)
        .http2_keep_alive_interval(PING_PERIOD)
        .keep_alive_timeout(PING_TIMEOUT)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    let connector = Connector { url: url.into(), dial: Arc::clone(dial) };
    endpoint.connect_with_connector(connector).await.map_err(|error| {
        // The innermost says why.
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            reason = error.to_string();
            source = error.source();
        }
        reason
    })
}
