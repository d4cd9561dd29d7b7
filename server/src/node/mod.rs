//! One member: builds everything, owns it, starts it and stops it. No logic of its own.
//!
//! - `start`: from the configuration to a node that serves.
//! - `services`: what the services share. `background`: what runs beside them.
//! - `discovery`: the members of a cluster to begin, from DNS.
//! - `started`: whether the cluster to begin runs already. `join`: a new member's place in a running one. `promote`: learners made voters.
//! - `listen`: the sockets.
//! - `maintain`: the engine's upkeep while nobody asks for it.
//! - `space`: how full the disks are.
//! - `observer`: what was applied, handed to leases and watchers.
//! - `disk_meter`, `peer_meter`, `apply_meter`, `gauges`: where the metrics come from.
//! - `http`: what the HTTP handlers ask of a node.
//! - `stop`: in what order things end.
//!
//! Nothing is global: many nodes run in one process.

mod apply_meter;
mod background;
mod discovery;
mod disk_meter;
mod gauges;
mod http;
mod join;
mod listen;
mod maintain;
mod observer;
mod peer_meter;
mod promote;
mod services;
mod space;
mod start;
mod started;
mod stop;

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vetch_raft::platform::tokio::Tokio;
use vetch_raft::transport::grpc::{Dial, GrpcTransport};
use vetch_raft::{Platform, Replica, StopReason};
use vetch_storage::Fatal;
use vetch_storage::engine::Options;
use vetch_storage::engine::fjall::FjallEngine;
use vetch_storage::engine::sled::SledEngine;

use self::background::Background;
use self::disk_meter::DiskMeter;
use crate::config::{Config, EngineKind};
use crate::edge::connection::Ending;
use crate::edge::tls::PeerDial;
use crate::metrics::Metrics;
use crate::rpc::Api;

pub use listen::Sockets;
pub use peer_meter::PeerMeter;
pub use start::StartError;

/// A running member.
#[derive(Debug)]
pub struct Node<P: Platform> {
    replica: Replica<P>,
    api: Arc<Api<P>>,
    client_addrs: Vec<SocketAddr>,
    peer_addrs: Vec<SocketAddr>,
    fatal: tokio::sync::mpsc::UnboundedReceiver<Fatal>,
    /// Cancelled when clients are served.
    ready: CancellationToken,
    /// Ends listeners, connections and streams of clients.
    ending: Ending,
    connections: TaskTracker,
    /// Those of peers, which the replica needs until its end.
    peer_ending: Ending,
    peer_connections: TaskTracker,
    background: Background<P>,
}

impl<P: Platform> Node<P> {
    /// Where clients reach it over TCP; tells the ports when 0 was asked for.
    pub fn client_addrs(&self) -> &[SocketAddr] {
        &self.client_addrs
    }

    /// Where peers reach it over TCP.
    pub fn peer_addrs(&self) -> &[SocketAddr] {
        &self.peer_addrs
    }

    /// Resolves when clients are served: the member has a leader, and has caught up with it.
    pub async fn serving(&self) {
        self.ready.cancelled().await;
    }

    /// The services' state.
    pub fn api(&self) -> &Arc<Api<P>> {
        &self.api
    }

    /// Resolves when the node must stop, with the reason.
    pub async fn failed(&mut self) -> StopReason {
        tokio::select! {
            reason = self.replica.fatal() => reason,
            Some(fatal) = self.fatal.recv() => fatal.into(),
        }
    }
}

/// Runs the member that `config` describes until `stopped` resolves; then stops it in order. `ready`
/// is called once it serves. Fails with the reason when it cannot start, or must stop by itself.
pub async fn run(
    config: Config,
    ready: impl FnOnce(),
    stopped: impl Future,
) -> Result<(), RunError> {
    let sockets = Sockets::bind(&config.listen)?;
    run_at(sockets, config, ready, stopped).await
}

/// As [`run`], on sockets that are bound already to what `config` names.
pub async fn run_at(
    sockets: Sockets,
    config: Config,
    ready: impl FnOnce(),
    stopped: impl Future,
) -> Result<(), RunError> {
    let memory_bytes = config.storage.memory_budget_bytes;
    let metrics = Arc::new(Metrics::new(&config));
    let meter = Arc::new(DiskMeter(Arc::clone(&metrics)));
    let peers = Arc::new(PeerMeter(Arc::clone(&metrics)));
    let dial = peer_dial(&config)?;
    match config.storage.engine {
        EngineKind::Fjall => {
            let options = Options { memory_budget: memory_bytes };
            let open = move |dir: &Path| FjallEngine::open(dir, options);
            let platform = Tokio::new("fjall", open, meter).dialling(dial, peers);
            run_on(sockets, platform, config, metrics, ready, stopped).await
        }
        EngineKind::Sled => {
            let options = Options { memory_budget: memory_bytes };
            let open = move |dir: &Path| SledEngine::open(dir, options);
            let platform = Tokio::new("sled", open, meter).dialling(dial, peers);
            run_on(sockets, platform, config, metrics, ready, stopped).await
        }
    }
}

/// How the member that `config` describes reaches its peers; for its platform.
pub fn peer_dial(config: &Config) -> Result<Arc<dyn Dial>, StartError> {
    Ok(Arc::new(PeerDial::open(config.peer_tls.as_ref())?))
}

async fn run_on<P: Platform<Transport = GrpcTransport>>(
    sockets: Sockets,
    platform: P,
    config: Config,
    metrics: Arc<Metrics>,
    ready: impl FnOnce(),
    stopped: impl Future,
) -> Result<(), RunError> {
    tokio::pin!(stopped);
    // A start may wait for long, for another process to leave the data directory.
    let mut node = tokio::select! {
        node = Node::start_on(sockets, platform, config, metrics) => node?,
        _ = &mut stopped => return Ok(()),
    };
    let serving = node.ready.clone();
    let mut ready = Some(ready);
    let failed = loop {
        tokio::select! {
            _ = &mut stopped => break None,
            reason = node.failed() => break Some(reason),
            () = serving.cancelled(), if ready.is_some() => {
                ready.take().into_iter().for_each(|ready| ready());
            }
        }
    };
    match failed {
        None => {
            node.shutdown().await;
            Ok(())
        }
        Some(reason @ StopReason::Removed) => {
            tracing::error!(%reason, "the data-dir used by this member must be removed");
            node.shutdown().await;
            // As etcd: it is a failure to start such a member, and none to have run until then.
            if ready.is_some() { Err(RunError::Removed) } else { Ok(()) }
        }
        Some(reason @ StopReason::Diverged { .. }) => {
            let error = RunError::Diverged(reason.to_string());
            node.quarantine().await;
            Err(error)
        }
        Some(StopReason::Failed(fatal)) => {
            node.abandon();
            Err(fatal.into())
        }
    }
}

/// Why a member ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It had to stop.
    #[error(transparent)]
    Fatal(#[from] Fatal),
    /// What it has applied is not what its cluster has.
    #[error("{0}")]
    Diverged(String),
    /// Its cluster goes on without it, as it found when it was started.
    #[error("{}", StopReason::Removed)]
    Removed,
}
