//! From the configuration to a node that serves.

use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use vetch_proto::etcdserverpb::Member;
use vetch_proto::vetchpb::ClusterVersionSet;
use vetch_proto::vetchpb::proposal::Command;
use vetch_raft::replica::Start;
use vetch_raft::{OpenError, Platform, Replica, Settings};

use super::background::Background;
use super::listen::Sockets;
use super::observer::Observer;
use super::services::Services;
use super::{Node, gauges};
use crate::config::{ClusterState, Config, Url};
use crate::edge::connection::Ending;
use crate::edge::tls::TlsError;
use crate::metrics::Metrics;
use crate::rpc::Api;
use crate::version::CLUSTER_VERSION;

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Log or engine.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A socket.
    #[error("cannot listen on {url}: {error}")]
    Listen {
        /// The URL of the flag.
        url: String,
        /// Why.
        error: io::Error,
    },
    /// The listeners' certificate.
    #[error("TLS of the client listeners: {0}")]
    Tls(#[from] TlsError),
    /// A thread or runtime.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// A setting that this version cannot honour.
    #[error("{what} is not built yet: {instead}")]
    NotBuilt {
        /// What was asked for.
        what: String,
        /// What to do instead.
        instead: &'static str,
    },
}

/// Proposals that may wait at once: etcd's bound on its backlog.
const MAX_INFLIGHT_PROPOSALS: usize = 5_000;
/// Bytes of proposals that may wait at once.
const MAX_INFLIGHT_BYTES: usize = 256 * 1024 * 1024;

impl<P: Platform> Node<P> {
    /// Starts a member. It serves when this returns.
    pub async fn start(
        platform: P,
        config: Config,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StartError> {
        refuse_joining(&config)?;
        let sockets = Sockets::bind(&config)?;
        let (reports, fatal) = mpsc::unbounded_channel();
        let services = Services::new(&platform, &config, &metrics, reports);
        let replica = open(&platform, &config, services.observer()).await?;
        let ending = Ending::default();
        let api = services.serve(&replica, ending.drain.clone());
        gauges::mirror(&api);
        let background = Background::start(&platform, &config, &api);
        set_cluster_version(&api).await;
        let connections = TaskTracker::new();
        let client_addrs = sockets.serve(&api, &config, &ending, &connections)?;
        Ok(Self { replica, api, client_addrs, fatal, ending, connections, background })
    }
}

/// A member that is to join must not begin a cluster of its own instead. With data, the flag has no
/// effect, as in etcd.
fn refuse_joining(config: &Config) -> Result<(), StartError> {
    let is_fresh = !config.data_dir.join("MANIFEST").exists();
    match config.bootstrap.state {
        ClusterState::Existing if is_fresh => Err(StartError::NotBuilt {
            what: "joining a cluster (--initial-cluster-state=existing)".to_owned(),
            instead: "this version runs one member only; start it with --initial-cluster-state=new",
        }),
        ClusterState::Existing | ClusterState::New => Ok(()),
    }
}

async fn open<P: Platform>(
    platform: &P,
    config: &Config,
    observer: Observer<P>,
) -> Result<Replica<P>, OpenError> {
    let peer_urls: Vec<String> = texts(&config.bootstrap.advertise_peer_urls);
    let id = vetch_raft::manifest::identity::initial_member_id(&peer_urls, &config.bootstrap.token);
    let member = Member {
        id: id.get(),
        name: config.name.clone(),
        peer_ur_ls: peer_urls,
        client_ur_ls: texts(&config.bootstrap.advertise_client_urls),
        is_learner: false,
    };
    let settings = Settings {
        id,
        heartbeat_interval: config.raft.heartbeat_interval,
        election_timeout: config.raft.election_timeout,
        request_timeout: config.raft.request_timeout(),
        checkpoint_entries: config.raft.snapshot_count,
        catchup_entries: config.raft.snapshot_catchup_entries,
        max_inflight_proposals: MAX_INFLIGHT_PROPOSALS,
        max_inflight_bytes: MAX_INFLIGHT_BYTES,
    };
    let start = Start {
        data_dir: config.data_dir.clone(),
        settings,
        cluster: vetch_raft::manifest::identity::cluster_id(&[id]),
        member,
        peers: Vec::new(),
        observer: Arc::new(observer),
    };
    Replica::open(platform.clone(), start).await
}

fn texts(urls: &[Url]) -> Vec<String> {
    urls.iter().map(|url| url.as_str().to_owned()).collect()
}

/// A fresh cluster begins at this version of the API; an older one is raised by its leader.
async fn set_cluster_version<P: Platform>(api: &Api<P>) {
    if api.replica.view().cluster_version().is_some() {
        return;
    }
    let command =
        Command::ClusterVersionSet(ClusterVersionSet { version: CLUSTER_VERSION.to_owned() });
    if let Err(error) = api.replica.propose(api.proposal(command)).await {
        tracing::warn!(%error, "could not set the cluster version; the next start tries again");
    }
}
