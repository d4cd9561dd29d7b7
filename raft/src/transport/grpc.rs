//! What ships: gRPC over HTTP/2.
//!
//! One connection per peer and channel. A connection that failed is dropped, not repaired: when it is
//! dialled again is decided above, by the pause each peer has.

mod dial;
mod inbound;
mod outbound;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, Stream, StreamExt, TryStreamExt};
use openraft_rt::{AsyncRuntime, Instant as _};
use openraft_rt_tokio::TokioRuntime;
use parking_lot::Mutex;
use prost::Message;
use vetch_proto::vetchpb::peer_client::PeerClient;
use vetch_proto::vetchpb::peer_reply::Reply;
use vetch_proto::vetchpb::peer_request::Request;
use vetch_proto::vetchpb::peer_server::PeerServer;
use vetch_proto::vetchpb::{
    AppendReply, AppendRequest, MembersReply, MembersRequest, PeerReply, PeerRequest,
};
use vetch_storage::NodeId;

pub use dial::{Dial, PeerSocket, PlainDial};
pub use inbound::{Inbound, Serving};
use outbound::Connection;

use super::observer::{PeerObserver, PeerTraffic, Unobserved};
use super::{Addresses, Channel, Link, LinkError, PeerService, Transport};

type Instant = <TokioRuntime as AsyncRuntime>::Instant;

/// The connections of one member.
type Connections = Mutex<BTreeMap<(NodeId, Channel), Arc<Connection>>>;

/// One member's connections to its peers, and what answers them. Clones are the same.
#[derive(Clone)]
pub struct GrpcTransport {
    connections: Arc<Connections>,
    inbound: Inbound,
    dial: Arc<dyn Dial>,
    observer: Arc<dyn PeerObserver>,
}

impl Default for GrpcTransport {
    fn default() -> Self {
        Self::dialling(Arc::new(PlainDial), Arc::new(Unobserved))
    }
}

impl GrpcTransport {
    /// Connections to nobody yet, over plain TCP.
    pub fn new() -> Self {
        Self::default()
    }

    /// As [`new`](Self::new), with connections that `dial` opens; what they carry is told to `observer`.
    pub fn dialling(dial: Arc<dyn Dial>, observer: Arc<dyn PeerObserver>) -> Self {
        let connections = Arc::default();
        let inbound = Inbound::new(Arc::clone(&connections));
        Self { connections, inbound, dial, observer }
    }

    /// What a listener for peers must serve: the service [`vetchpb.Peer`](PeerServer). Refuses while
    /// the member is not running.
    pub fn service(&self) -> PeerServer<Inbound> {
        // A batch of entries has its own bound, where the log is read.
        PeerServer::new(self.inbound.clone())
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX)
    }

    /// Asks whoever listens at `url` who is in its group: for a member that is to join and does not know
    /// yet under which id. The error is for the operator.
    pub async fn ask_members(
        &self,
        url: &str,
        request: MembersRequest,
        within: Duration,
    ) -> Result<MembersReply, String> {
        let ask = async {
            let mut client = PeerClient::new(outbound::dial_one(url, &self.dial).await?);
            let request = Some(Request::Members(request));
            let reply = client.call(PeerRequest { hello: None, request }).await;
            match reply.map_err(|status| status.message().to_owned())?.into_inner().reply {
                Some(Reply::Members(members)) => Ok(members),
                Some(Reply::Refused(refusal)) => Err(refusal.message),
                Some(_) | None => Err("an answer to another question".to_owned()),
            }
        };
        let asked = TokioRuntime::timeout(within, Box::pin(ask)).await;
        asked.unwrap_or_else(|_late| Err(format!("no answer within {within:?}")))
    }
}

impl fmt::Debug for GrpcTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connections = self.connections.lock();
        f.debug_struct("GrpcTransport")
            .field("connections", &connections.keys())
            .finish_non_exhaustive()
    }
}

impl Transport for GrpcTransport {
    type Link = GrpcLink;
    type Serving = Serving;

    fn link(&self, target: NodeId, channel: Channel, addresses: &Addresses) -> GrpcLink {
        let mut connections = self.connections.lock();
        let (addresses, dial) = (Arc::clone(addresses), Arc::clone(&self.dial));
        let new = || {
            let traffic = self.observer.of(target);
            Arc::new(Connection::new(target, addresses, dial, traffic))
        };
        GrpcLink(Arc::clone(connections.entry((target, channel)).or_insert_with(new)))
    }

    fn serve(&self, _: NodeId, service: Arc<dyn PeerService>) -> Serving {
        self.inbound.serve(service)
    }

    fn traffic(&self, peer: NodeId) -> Arc<dyn PeerTraffic> {
        self.observer.of(peer)
    }
}

/// A way to one peer over gRPC.
#[derive(Clone, Debug)]
pub struct GrpcLink(Arc<Connection>);

impl Link for GrpcLink {
    fn call(
        &self,
        request: PeerRequest,
        within: Duration,
    ) -> BoxFuture<'static, Result<PeerReply, LinkError>> {
        let connection = Arc::clone(&self.0);
        async move {
            let is_heartbeat = matches!(request.request, Some(Request::Heartbeat(_)));
            let began = Instant::now();
            let answer = exchange(&connection, request, within).await;
            connection.heard(answer.as_ref().map(Message::encoded_len));
            if is_heartbeat && answer.is_ok() {
                connection.round_trip(began.elapsed());
            }
            answer
        }
        .boxed()
    }

    fn append(
        &self,
        requests: BoxStream<'static, AppendRequest>,
    ) -> BoxStream<'static, Result<AppendReply, LinkError>> {
        stream::once(open(Arc::clone(&self.0), requests).boxed()).try_flatten().boxed()
    }
}

async fn exchange(
    connection: &Arc<Connection>,
    request: PeerRequest,
    within: Duration,
) -> Result<PeerReply, LinkError> {
    // Dialling has part of the time: what was never sent is known not to have arrived.
    let mut client = Arc::clone(connection).client(within / 2).await?;
    connection.sends(request.encoded_len());
    match TokioRuntime::timeout(within, client.call(request)).await {
        Ok(Ok(reply)) => Ok(reply.into_inner()),
        Ok(Err(status)) => Err(connection.failed(&status)),
        Err(_) => Err(LinkError::Lost(format!("no answer within {within:?}"))),
    }
}

/// A name for the stream: the compiler cannot tell that a future which holds the bare one is `Send`.
struct Requests(BoxStream<'static, AppendRequest>);

impl Stream for Requests {
    type Item = AppendRequest;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<AppendRequest>> {
        self.0.poll_next_unpin(context)
    }
}

type Replies = BoxStream<'static, Result<AppendReply, LinkError>>;

async fn open(
    connection: Arc<Connection>,
    requests: BoxStream<'static, AppendRequest>,
) -> Result<Replies, LinkError> {
    let mut client = Arc::clone(&connection).client(outbound::DIAL_TIMEOUT).await?;
    let sending = Arc::clone(&connection);
    let requests = requests.inspect(move |request| sending.sends(request.encoded_len())).boxed();
    let replies = match client.append(Requests(requests)).await {
        Ok(replies) => replies.into_inner(),
        Err(status) => return Err(connection.failed(&status)),
    };
    let replies = replies.map(move |reply| {
        let reply = reply.map_err(|status| connection.failed(&status));
        connection.heard(reply.as_ref().map(Message::encoded_len));
        reply
    });
    Ok(replies.boxed())
}
