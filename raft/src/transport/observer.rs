//! What passes between a member and its peers, for whoever counts it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use vetch_storage::NodeId;

/// Has somebody hear what the connections to peers carry; the owner turns it into metrics.
pub trait PeerObserver: fmt::Debug + Send + Sync + 'static {
    /// Who hears of `peer`. Asked once for a connection, which keeps it.
    fn of(&self, peer: NodeId) -> Arc<dyn PeerTraffic>;
}

/// Hears what passes between this member and one peer. Called where messages pass: must be short.
pub trait PeerTraffic: fmt::Debug + Send + Sync + 'static {
    /// So many bytes of messages and answers went to the peer.
    fn sent(&self, bytes: usize);
    /// So many bytes of messages and answers came from the peer.
    fn received(&self, bytes: usize);
    /// A message to the peer did not arrive, or its answer did not.
    fn send_failed(&self);
    /// A stream of messages from the peer broke.
    fn receive_failed(&self);
    /// The peer answered a heartbeat after this time.
    fn round_trip(&self, took: Duration);
    /// Whether the peer could be reached just now. Called again and again.
    fn reached(&self, is_reached: bool);
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl PeerObserver for Unobserved {
    fn of(&self, _: NodeId) -> Arc<dyn PeerTraffic> {
        Arc::new(Self)
    }
}

impl PeerTraffic for Unobserved {
    fn sent(&self, _: usize) {}
    fn received(&self, _: usize) {}
    fn send_failed(&self) {}
    fn receive_failed(&self) {}
    fn round_trip(&self, _: Duration) {}
    fn reached(&self, _: bool) {}
}
