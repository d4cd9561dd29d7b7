//! Accepting connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vetch_raft::Platform;

use super::connection;
use super::service::EdgeService;

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

/// One listening socket and what it serves.
#[derive(Debug)]
pub struct Listener<P: Platform> {
    socket: TcpListener,
    service: EdgeService<P>,
    builder: Builder<TokioExecutor>,
    slots: Arc<Semaphore>,
    dealer: Dealer,
}

impl<P: Platform> Listener<P> {
    /// Serves `service` on `socket`.
    pub fn new(
        socket: TcpListener,
        service: EdgeService<P>,
        builder: Builder<TokioExecutor>,
        slots: Arc<Semaphore>,
        dealer: Dealer,
    ) -> Self {
        Self { socket, service, builder, slots, dealer }
    }

    /// The address clients reach it at; tells the port when 0 was asked for.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts until `stop`; every connection is tracked by `connections`, so that the node can wait
    /// for them.
    pub async fn run(self, stop: CancellationToken, connections: TaskTracker) {
        let mut turn = 0;
        loop {
            let accepted = tokio::select! {
                accepted = self.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let Some((socket, client, slot)) = accepted else { return };
            turn += 1;
            let (service, builder) = (self.service.for_client(client), self.builder.clone());
            let (stop, connections) = (stop.clone(), connections.clone());
            let job = move || {
                connections.spawn(async move {
                    // Taken from the accepting runtime, given to this one.
                    let Ok(socket) = TcpStream::from_std(socket) else { return };
                    connection::serve(builder, socket, service, stop).await;
                    drop(slot);
                });
            };
            self.dealer.deal(turn, Box::new(job));
        }
    }

    async fn accept(&self) -> Option<(std::net::TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        loop {
            let slot = Arc::clone(&self.slots).acquire_owned().await.ok()?;
            let accepted = self.socket.accept().await;
            match accepted.and_then(|(socket, client)| Ok((socket.into_std()?, client))) {
                Ok((socket, client)) => return Some((socket, client, slot)),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection; trying again shortly");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }
}
