//! What passes between a member and its peers, for whoever counts it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use openraft_rt::{AsyncRuntime, Instant};
use vetch_storage::NodeId;

/// Has somebody hear what passes between this member and its peers; the owner turns it into metrics.
pub trait PeerObserver: fmt::Debug + Send + Sync + 'static {
    /// Who hears of `peer`. Asked once for a connection, which keeps it, and once for a whole state.
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
    /// A whole state is on its way, from now on.
    fn state_begun(&self, way: Way);
    /// One is no more: it has arrived, after this time, or it never will.
    fn state_ended(&self, way: Way, arrived_after: Option<Duration>);
}

/// Which way a whole state goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// To the peer.
    Out,
    /// From the peer.
    In,
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
    fn state_begun(&self, _: Way) {}
    fn state_ended(&self, _: Way, _: Option<Duration>) {}
}

/// A whole state on its way. Dropped before it has [arrived](Self::arrived), it never will.
pub(crate) struct StateOnItsWay<R: AsyncRuntime> {
    traffic: Arc<dyn PeerTraffic>,
    way: Way,
    began: R::Instant,
    arrived_after: Option<Duration>,
}

impl<R: AsyncRuntime> StateOnItsWay<R> {
    pub(crate) fn begin(traffic: Arc<dyn PeerTraffic>, way: Way) -> Self {
        traffic.state_begun(way);
        Self { traffic, way, began: R::Instant::now(), arrived_after: None }
    }

    /// It is in use there, or was not needed any more.
    pub(crate) fn arrived(mut self) {
        self.arrived_after = Some(self.began.elapsed());
    }
}

impl<R: AsyncRuntime> Drop for StateOnItsWay<R> {
    fn drop(&mut self) {
        self.traffic.state_ended(self.way, self.arrived_after);
    }
}
