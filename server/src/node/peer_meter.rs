//! What passes between members, as metrics.

use std::sync::Arc;
use std::time::Duration;

use vetch_raft::transport::observer::{PeerObserver, PeerTraffic, Way};
use vetch_storage::NodeId;

use crate::metrics::{Metrics, PeerMetrics, StateMetrics};

/// Counts what the connections to peers carry; for the member's platform.
#[derive(Debug)]
pub struct PeerMeter(pub Arc<Metrics>);

impl PeerObserver for PeerMeter {
    fn of(&self, peer: NodeId) -> Arc<dyn PeerTraffic> {
        self.0.peers.of(peer.0)
    }
}

impl PeerTraffic for PeerMetrics {
    fn sent(&self, bytes: usize) {
        self.sent_bytes.add(bytes as u64);
    }

    fn received(&self, bytes: usize) {
        self.received_bytes.add(bytes as u64);
    }

    fn send_failed(&self) {
        self.sent_failures.inc();
    }

    fn receive_failed(&self) {
        self.received_failures.inc();
    }

    fn round_trip(&self, took: Duration) {
        self.observe_round_trip(took);
    }

    fn reached(&self, is_reached: bool) {
        self.set_active(is_reached);
    }

    fn state_begun(&self, way: Way) {
        states(self, way).begin();
    }

    fn state_ended(&self, way: Way, arrived_after: Option<Duration>) {
        states(self, way).end(arrived_after);
    }
}

fn states(peer: &PeerMetrics, way: Way) -> &StateMetrics {
    match way {
        Way::Out => &peer.states_to,
        Way::In => &peer.states_from,
    }
}
