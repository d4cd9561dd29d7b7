//! How members reach each other.
//!
//! - [`Transport`] and [`PeerService`]: the seam. Messages are `vetchpb`'s on every platform, so that
//!   what the simulator carries is what the wire carries.
//! - [`grpc`]: what ships. [`sim`]: a simulated network, on virtual time. [`observer`]: who counts what passes.
//! - `wire`: openraft's messages as `vetchpb`'s. `network`: openraft's clients. `feed`: a whole state for
//!   one peer. `peer`: the ways to all peers. `pause`: before each new attempt to reach one. `roster`: which instance of each member
//!   is known.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use vetch_proto::vetchpb::{AppendReply, AppendRequest, PeerReply, PeerRequest};
use vetch_storage::NodeId;

use self::observer::{PeerObserver, PeerTraffic, Unobserved};

mod feed;
pub mod grpc;
pub(crate) mod network;
pub mod observer;
mod pause;
pub(crate) mod peer;
pub(crate) mod roster;
pub mod sim;
pub(crate) mod wire;

/// What a connection is for; each kind has its own, so that none waits behind another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    /// Log entries.
    Append,
    /// Heartbeats, votes, transfers: small, and late is as bad as lost.
    Control,
    /// Proposals and read indexes for the leader.
    Forward,
    /// A whole state, chunk by chunk.
    Snapshot,
}

/// Why a peer gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// It never heard the message.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// It may have heard the message, and may have acted on it.
    #[error("connection lost: {0}")]
    Lost(String),
}

/// Carries messages between members. Clones share connections.
pub trait Transport: Clone + Debug + Send + Sync + 'static {
    /// A way to one peer.
    type Link: Link;
    /// Ends the service when dropped.
    type Serving: Debug + Send + 'static;

    /// A way from this member to `target`; dials when it is first used. Where `target` is, at the
    /// time, is asked of `addresses`.
    fn link(&self, target: NodeId, channel: Channel, addresses: &Addresses) -> Self::Link;

    /// Hands what peers send to member `me` to `service`.
    fn serve(&self, me: NodeId, service: Arc<dyn PeerService>) -> Self::Serving;

    /// Who hears what passes between this member and `peer`. The transport tells it what connections carry;
    /// of whole states it is told from above.
    fn traffic(&self, peer: NodeId) -> Arc<dyn PeerTraffic> {
        Unobserved.of(peer)
    }
}

/// The URLs at which a member is heard; none while they are not known.
pub type Addresses = Arc<dyn Fn(NodeId) -> Vec<String> + Send + Sync>;

/// A way to one peer.
pub trait Link: Send + Sync + 'static {
    /// One message and its answer. An answer that takes longer than `within` is given up on.
    fn call(
        &self,
        request: PeerRequest,
        within: Duration,
    ) -> BoxFuture<'static, Result<PeerReply, LinkError>>;

    /// Requests in order, one reply each, in that order. Reads ahead of the replies. The replies end
    /// with the requests, or with an error.
    fn append(
        &self,
        requests: BoxStream<'static, AppendRequest>,
    ) -> BoxStream<'static, Result<AppendReply, LinkError>>;
}

/// What a member does for its peers.
pub trait PeerService: Send + Sync + 'static {
    /// Answers one message.
    fn call(&self, request: PeerRequest) -> BoxFuture<'static, PeerReply>;

    /// Takes entries; one reply each, in order, none after the first that is not `matched`.
    fn append(
        &self,
        requests: BoxStream<'static, AppendRequest>,
    ) -> BoxStream<'static, AppendReply>;
}
