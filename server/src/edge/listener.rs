//! Accepting connections.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto::Builder;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::task::TaskTracker;

use super::connection::{self, Connection, Ending, Transport};
use super::service::Offered;
use super::socket::{Accepted, Listening};
use super::tls::Tls;

/// Connections of one node at the most; beyond it new ones wait in the kernel's queue.
pub const MAX_CONNECTIONS: usize = 65_536;
/// Rest after a failed accept: it is the process's file descriptors that ran out, usually.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The runtimes that own connections: dealt in turn.
#[derive(Clone, Debug)]
pub struct Dealer {
    /// One queue per edge runtime; none when the core runtime serves connections itself.
    edges: Vec<mpsc::UnboundedSender<Job>>,
}

/// A connection on its way to the runtime that will own it.
type Job = Box<dyn FnOnce() + Send>;

impl Dealer {
    /// Starts `edges` runtimes of one thread each. They end when the dealer and its clones are gone.
    pub fn start(edges: usize) -> io::Result<Self> {
        let mut queues = Vec::with_capacity(edges);
        for number in 0..edges {
            let (queue, mut jobs) = mpsc::unbounded_channel::<Job>();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            std::thread::Builder::new().name(format!("vetch-edge-{number}")).spawn(move || {
                runtime.block_on(async move {
                    while let Some(job) = jobs.recv().await {
                        job();
                    }
                });
            })?;
            queues.push(queue);
        }
        Ok(Self { edges: queues })
    }

    /// Has no runtimes: a connection stays on the one that accepted it.
    pub fn none() -> Self {
        Self { edges: Vec::new() }
    }

    /// How many edge runtimes suit a machine: none on two cores, where the core runtime is faster
    /// without a hand-over.
    pub fn suitable_edges(cores: usize) -> usize {
        if cores <= 2 { 0 } else { (cores - 2).clamp(1, 8) }
    }

    /// Runs `job` on the runtime number `turn` deals to.
    fn deal(&self, turn: usize, job: Job) {
        match self.edges.get(turn % self.edges.len().max(1)) {
            None => job(),
            // A runtime that ended has ended with the process's stop: the connection is dropped.
            Some(edge) => drop(edge.send(job)),
        }
    }
}

/// What the listeners of a node have in common.
#[derive(Clone, Debug)]
pub struct Connections {
    builder: Builder<TokioExecutor>,
    min_time: Option<Duration>,
    slots: Arc<Semaphore>,
    dealer: Dealer,
}

impl Connections {
    /// At most [`MAX_CONNECTIONS`] at once, over all listeners.
    pub fn new(transport: Transport, dealer: Dealer) -> Self {
        Self {
            builder: connection::builder(transport),
            min_time: transport.keepalive_min_time,
            slots: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            dealer,
        }
    }
}

/// One listening socket and what it serves.
#[derive(Debug)]
pub struct Listener<O> {
    socket: Listening,
    tls: Option<Arc<Tls>>,
    offered: O,
    shared: Connections,
}

impl<O: Offered> Listener<O> {
    /// Serves what is `offered` on `socket`, in plaintext or with `tls`.
    pub fn new(socket: Listening, tls: Option<Arc<Tls>>, offered: O, shared: Connections) -> Self {
        Self { socket, tls, offered, shared }
    }

    /// Accepts until the node stops; every connection is tracked by `connections`, so that the node can
    /// wait for them.
    pub async fn run(self, ending: Ending, connections: TaskTracker) {
        let mut turn = 0;
        loop {
            let accepted = tokio::select! {
                accepted = self.accept() => accepted,
                () = ending.drain.cancelled() => return,
            };
            let Some((socket, slot)) = accepted else { return };
            turn += 1;
            let connection = Connection {
                builder: self.shared.builder.clone(),
                min_time: self.shared.min_time,
                peer: socket.peer(),
                service: self.offered.to(socket.peer()),
                ending: ending.clone(),
            };
            let (tls, connections) = (self.tls.clone(), connections.clone());
            let job = move || {
                connections.spawn(async move {
                    connection.serve(socket, tls).await;
                    drop(slot);
                });
            };
            self.shared.dealer.deal(turn, Box::new(job));
        }
    }

    async fn accept(&self) -> Option<(Accepted, OwnedSemaphorePermit)> {
        loop {
            let slot = Arc::clone(&self.shared.slots).acquire_owned().await.ok()?;
            match self.socket.accept().await {
                Ok(socket) => return Some((socket, slot)),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection; trying again shortly");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }
}
