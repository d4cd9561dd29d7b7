//! What passes between members, as metrics.

use std::sync::Arc;
use std::time::Duration;

use vetch_raft::transport::observer::PeerObserver;
use vetch_storage::NodeId;

use crate::metrics::Metrics;

/// Counts what the connections to peers carry; for the member's platform.
#[derive(Debug)]
pub struct PeerMeter(pub Arc<Metrics>);

impl PeerObserver for PeerMeter {
    fn sent(&self, peer: NodeId, bytes: usize) {
        self.0.peers.of(peer.0).sent_bytes.add(bytes as u64);
    }

    fn received(&self, peer: NodeId, bytes: usize) {
        self.0.peers.of(peer.0).received_bytes.add(bytes as u64);
    }

    fn send_failed(&self, peer: NodeId) {
        self.0.peers.of(peer.0).sent_failures.inc();
    }

    fn receive_failed(&self, peer: NodeId) {
        self.0.peers.of(peer.0).received_failures.inc();
    }

    fn round_trip(&self, peer: NodeId, took: Duration) {
        self.0.peers.of(peer.0).round_trip(took);
    }

    fn reached(&self, peer: NodeId, is_reached: bool) {
        self.0.peers.of(peer.0).reached(is_reached);
    }
}
