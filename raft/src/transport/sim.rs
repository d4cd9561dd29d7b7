//! A simulated network, on virtual time, whose every chance comes from one seed.
//!
//! What a message meets is drawn when it is sent: its delay, whether it is lost, whether it comes
//! twice; a cut is looked at when it would arrive. Calls overtake each other. Appends keep their order,
//! as on a connection: a lost one ends the stream, and in a cut the stream goes silent until pings end it.
//!
//! - `network`: who is on it, and what messages meet. `link`: the way from one member to another. `carry`: one
//!   direction of a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use vetch_storage::NodeId;

use super::observer::{PeerObserver, PeerTraffic, Unobserved};
use super::{Addresses, Channel, PeerService, Transport};

mod carry;
mod link;
mod network;

use network::Member;

pub use self::link::SimLink;
pub use self::network::{SimNetwork, Weather};

/// One machine's end of the network; silent once the machine is dead.
#[derive(Clone, Debug)]
pub struct SimTransport {
    network: SimNetwork,
    machine: Arc<AtomicBool>,
    observer: Arc<dyn PeerObserver>,
}

impl SimTransport {
    pub(crate) fn new(network: SimNetwork) -> Self {
        let observer = Arc::new(Unobserved);
        Self { network, machine: Arc::new(AtomicBool::new(true)), observer }
    }

    /// That of the machine's next process.
    pub(crate) fn reborn(&self) -> Self {
        Self { machine: Arc::new(AtomicBool::new(true)), ..self.clone() }
    }

    /// As this one; of whole states `observer` is told. What connections carry is not counted here.
    pub(crate) fn observed_by(&self, observer: Arc<dyn PeerObserver>) -> Self {
        Self { observer, ..self.clone() }
    }

    /// The machine has no effect on others any more.
    pub(crate) fn die(&self) {
        self.machine.store(false, Ordering::Release);
        // Nobody hears it again, and what it holds leads back to this network: it would keep both.
        self.network.clear(&self.machine);
    }
}

/// Takes the member off the network when dropped.
#[derive(Debug)]
pub struct SimServing {
    network: SimNetwork,
    me: NodeId,
    machine: Arc<AtomicBool>,
}

impl Drop for SimServing {
    fn drop(&mut self) {
        self.network.leave(self.me, &self.machine);
    }
}

impl Transport for SimTransport {
    type Link = SimLink;
    type Serving = SimServing;

    fn link(&self, target: NodeId, _: Channel, _: &Addresses) -> SimLink {
        SimLink { network: self.network.clone(), machine: Arc::clone(&self.machine), target }
    }

    fn serve(&self, me: NodeId, service: Arc<dyn PeerService>) -> SimServing {
        let machine = Arc::clone(&self.machine);
        self.network.enter(me, Member { service, machine: Arc::clone(&machine) });
        SimServing { network: self.network.clone(), me, machine }
    }

    fn traffic(&self, peer: NodeId) -> Arc<dyn PeerTraffic> {
        self.observer.of(peer)
    }
}
