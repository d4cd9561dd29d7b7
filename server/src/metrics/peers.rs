//! What passes between this member and the others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::buckets;
use super::counter::Counter;
use super::family::Family;
use super::group::metric_group;
use super::groups::seconds;

/// One [`PeerMetrics`] for each peer that was ever spoken to.
#[derive(Debug)]
pub struct PeersMetrics {
    families: Families,
    peers: Mutex<BTreeMap<u64, Arc<PeerMetrics>>>,
}

metric_group! {
    /// Those that have a peer as a label.
    struct Families {
        active: Family<Gauge> = Family::new(Gauge::default),
            "etcd_network_active_peers", "1 for each peer that can be reached";
        disconnected: Family<Counter> = Family::new(Counter::default),
            "etcd_network_disconnected_peers_total", "How often a peer could not be reached any more";
        sent_bytes: Family<Counter> = Family::new(Counter::default),
            "etcd_network_peer_sent_bytes_total", "Bytes of messages to a peer";
        received_bytes: Family<Counter> = Family::new(Counter::default),
            "etcd_network_peer_received_bytes_total", "Bytes of messages from a peer";
        sent_failures: Family<Counter> = Family::new(Counter::default),
            "etcd_network_peer_sent_failures_total",
            "Messages to a peer that did not arrive, or whose answer did not";
        received_failures: Family<Counter> = Family::new(Counter::default),
            "etcd_network_peer_received_failures_total", "Streams of messages from a peer that broke";
        round_trip: Family<Histogram> = Family::new(buckets::round_trip),
            "etcd_network_peer_round_trip_time_seconds", "Time of a leader's heartbeats and their answers";
        states_sending: Family<Gauge> = Family::new(Gauge::default),
            "etcd_network_snapshot_send_inflights_total", "Whole states that are on their way to a peer";
        states_sent: Family<Counter> = Family::new(Counter::default),
            "etcd_network_snapshot_send_success", "Whole states that a peer has taken";
        states_not_sent: Family<Counter> = Family::new(Counter::default),
            "etcd_network_snapshot_send_failures", "Whole states that a peer has not taken, or not got";
        state_sent: Family<Histogram> = Family::new(buckets::state_seconds),
            "etcd_network_snapshot_send_total_duration_seconds",
            "Time until a peer has taken a whole state";
        states_receiving: Family<Gauge> = Family::new(Gauge::default),
            "etcd_network_snapshot_receive_inflights_total", "Whole states that are on their way from a peer";
        states_received: Family<Counter> = Family::new(Counter::default),
            "etcd_network_snapshot_receive_success", "Whole states taken from a peer";
        states_not_received: Family<Counter> = Family::new(Counter::default),
            "etcd_network_snapshot_receive_failures",
            "Whole states from a peer that were not taken, or never complete";
        state_received: Family<Histogram> = Family::new(buckets::state_seconds),
            "etcd_network_snapshot_receive_total_duration_seconds",
            "Time until a whole state from a peer is taken";
    }
}

/// Of one peer.
#[derive(Debug)]
pub struct PeerMetrics {
    is_active: AtomicBool,
    disconnections: AtomicU64,
    /// Bytes of messages to it.
    pub sent_bytes: Counter,
    /// Bytes of messages from it.
    pub received_bytes: Counter,
    /// Messages to it that did not arrive, or whose answer did not.
    pub sent_failures: Counter,
    /// Streams from it that broke.
    pub received_failures: Counter,
    round_trip: Histogram,
    /// Whole states that go to it.
    pub states_to: StateMetrics,
    /// Whole states that come from it.
    pub states_from: StateMetrics,
}

/// Of whole states that go to one peer, or come from it.
#[derive(Debug)]
pub struct StateMetrics {
    on_their_way: Gauge,
    arrived: Counter,
    lost: Counter,
    took: Histogram,
}

impl PeersMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        Self { families: Families::register(registry), peers: Mutex::default() }
    }

    /// Those of the peer with this member id, for whoever counts to keep.
    pub fn of(&self, peer: u64) -> Arc<PeerMetrics> {
        Arc::clone(self.peers.lock().entry(peer).or_insert_with(|| self.families.of(peer)))
    }

    /// Which peers `local` can reach: what is labelled with both ends.
    pub(super) fn show(&self, local: u64) {
        let local = format!("{local:x}");
        for (peer, metrics) in &*self.peers.lock() {
            let remote = format!("{peer:x}");
            let labels = [("Local", &*local), ("Remote", &*remote)];
            let is_active = metrics.is_active.load(Ordering::Relaxed);
            self.families.active.with(&labels).set(is_active.into());
            let disconnections = metrics.disconnections.load(Ordering::Relaxed);
            self.families.disconnected.with(&labels).raise_to(disconnections);
        }
    }
}

impl Families {
    fn of(&self, peer: u64) -> Arc<PeerMetrics> {
        let peer = format!("{peer:x}");
        let (to, from) = ([("To", &*peer)], [("From", &*peer)]);
        Arc::new(PeerMetrics {
            is_active: AtomicBool::new(false),
            disconnections: AtomicU64::new(0),
            sent_bytes: self.sent_bytes.with(&to),
            received_bytes: self.received_bytes.with(&from),
            sent_failures: self.sent_failures.with(&to),
            received_failures: self.received_failures.with(&from),
            round_trip: self.round_trip.with(&to),
            states_to: StateMetrics {
                on_their_way: self.states_sending.with(&to),
                arrived: self.states_sent.with(&to),
                lost: self.states_not_sent.with(&to),
                took: self.state_sent.with(&to),
            },
            states_from: StateMetrics {
                on_their_way: self.states_receiving.with(&from),
                arrived: self.states_received.with(&from),
                lost: self.states_not_received.with(&from),
                took: self.state_received.with(&from),
            },
        })
    }
}

impl PeerMetrics {
    /// The peer could be reached, or could not.
    pub fn set_active(&self, is_reached: bool) {
        let was_active = self.is_active.swap(is_reached, Ordering::Relaxed);
        if was_active && !is_reached {
            self.disconnections.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// It answered a heartbeat.
    pub fn observe_round_trip(&self, took: Duration) {
        self.round_trip.observe(seconds(took));
    }
}

impl StateMetrics {
    /// One is on its way.
    pub fn begin(&self) {
        self.on_their_way.inc();
    }

    /// One is no more: it has arrived, after this time, or it never will.
    pub fn end(&self, arrived_after: Option<Duration>) {
        self.on_their_way.dec();
        match arrived_after {
            Some(took) => {
                self.arrived.inc();
                self.took.observe(seconds(took));
            }
            None => self.lost.inc(),
        }
    }
}
