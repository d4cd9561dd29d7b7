//! Ports for servers that are told where to listen.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context as _, Result};
use rand::Rng as _;

/// Below the kernel's ephemeral range: between the choice of a port and the start or restart of its
/// server, a connection that the kernel gives a port must not take it.
const FIRST: u16 = 12_000;
const LAST: u16 = 31_000;

/// Loopback ports nobody listens on, none of them twice. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Ports {
    taken: Arc<AtomicU16>,
    first: u16,
}

impl Ports {
    /// From somewhere in the range on: another run beside this one begins elsewhere.
    pub(crate) fn new() -> Self {
        Self { taken: Arc::default(), first: rand::rng().random_range(FIRST..LAST) }
    }

    /// The next free one.
    pub(crate) fn take(&self) -> Result<SocketAddr> {
        let range = LAST - FIRST;
        let mut tries = (0..range).map(|_| {
            let further = self.taken.fetch_add(1, Ordering::Relaxed) % range;
            let port = FIRST + (self.first - FIRST + further) % range;
            SocketAddr::from((Ipv4Addr::LOCALHOST, port))
        });
        let free = tries.find(|address| TcpListener::bind(address).is_ok());
        free.with_context(|| format!("no free loopback port between {FIRST} and {LAST}"))
    }
}
