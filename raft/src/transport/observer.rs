//! What passes between a member and its peers, for whoever counts it.

use std::fmt;
use std::time::Duration;

use vetch_storage::NodeId;

/// Hears what the connections to peers carry; the owner turns it into metrics. Called where messages
/// pass: must be short.
pub trait PeerObserver: fmt::Debug + Send + Sync + 'static {
    /// So many bytes of messages and answers went to `peer`.
    fn sent(&self, peer: NodeId, bytes: usize);
    /// So many bytes of messages and answers came from `peer`.
    fn received(&self, peer: NodeId, bytes: usize);
    /// A message to `peer` did not arrive, or its answer did not.
    fn send_failed(&self, peer: NodeId);
    /// A stream of messages from `peer` broke.
    fn receive_failed(&self, peer: NodeId);
    /// `peer` answered a heartbeat after this time.
    fn round_trip(&self, peer: NodeId, took: Duration);
    /// Whether `peer` could be reached just now. Called again and again.
    fn reached(&self, peer: NodeId, is_reached: bool);
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl PeerObserver for Unobserved {
    fn sent(&self, _: NodeId, _: usize) {}
    fn received(&self, _: NodeId, _: usize) {}
    fn send_failed(&self, _: NodeId) {}
    fn receive_failed(&self, _: NodeId) {}
    fn round_trip(&self, _: NodeId, _: Duration) {}
    fn reached(&self, _: NodeId, _: bool) {}
}
