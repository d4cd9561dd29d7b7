//! From the configuration to a node that serves.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vetch_proto::etcdserverpb::Member;
use vetch_proto::vetchpb::ClusterVersionSet;
use vetch_proto::vetchpb::proposal::Command;
use vetch_raft::manifest::Manifest;
use vetch_raft::manifest::identity::{cluster_id, initial_member_id};
use vetch_raft::replica::Start;
use vetch_raft::transport::grpc::GrpcTransport;
use vetch_raft::{Bootstrap, OpenError, Platform, Replica, Settings};
use vetch_storage::{ClusterId, NodeId};

use super::background::Background;
use super::listen::{ClientSockets, Sockets, open_peer_tls, open_tls};
use super::observer::Observer;
use super::services::Services;
use super::{Node, discovery, gauges, join, started};
use crate::config::{ClusterState, Config, ConfigError, InitialCluster, Url};
use crate::corruption;
use crate::edge::connection::Ending;
use crate::edge::tls::{Tls, TlsError};
use crate::metrics::Metrics;
use crate::rpc::Api;
use crate::version::CLUSTER_VERSION;

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Log or engine.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The members of the cluster to begin.
    #[error(transparent)]
    Bootstrap(#[from] ConfigError),
    /// DNS does not name the members of the cluster to begin; the text is etcd's.
    #[error("error setting up initial cluster: {0}")]
    Discovery(String),
    /// A socket.
    #[error("cannot listen on {url}: {error}")]
    Listen {
        /// The URL of the flag.
        url: String,
        /// Why.
        error: io::Error,
    },
    /// Certificates.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// A thread or runtime.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// The cluster to begin runs already, and this member was part of it.
    #[error("member {:x} has already been bootstrapped", .0.get())]
    AlreadyBootstrapped(NodeId),
    /// The member has no place in the cluster it is to join.
    #[error("{0}")]
    Join(String),
}

/// Proposals that may wait at once: etcd's bound on its backlog.
const MAX_INFLIGHT_PROPOSALS: usize = 5_000;
/// Bytes of proposals that may wait at once.
const MAX_INFLIGHT_BYTES: usize = 256 * 1024 * 1024;

impl<P: Platform<Transport = GrpcTransport>> Node<P> {
    /// Starts a member: its peers reach it when this returns, its clients when it is
    /// [`serving`](Self::serving).
    pub async fn start(
        platform: P,
        config: Config,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StartError> {
        let sockets = Sockets::bind(&config.listen)?;
        Self::start_on(sockets, platform, config, metrics).await
    }

    /// As [`start`](Self::start), on sockets that are bound already to what `config` names.
    pub async fn start_on(
        sockets: Sockets,
        platform: P,
        config: Config,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StartError> {
        let beginning = Beginning::of(&platform, &config, &sockets).await?;
        let (tls, peer_tls) = (open_tls(&config)?, open_peer_tls(&config)?);
        let (client_addrs, peer_addrs) = (sockets.client_addrs(), sockets.peer_addrs());
        let (reports, fatal) = mpsc::unbounded_channel();
        let services = Services::new(&platform, &config, &metrics, reports);
        let replica = open(&platform, &config, beginning, services.observer()).await?;
        let (ending, peer_ending) = (Ending::default(), Ending::default());
        let api = services.serve(&replica, ending.drain.clone());
        gauges::mirror(&api);
        let background = Background::start(&platform, &config, &api);
        let (connections, peer_connections) = (TaskTracker::new(), TaskTracker::new());
        let sockets = sockets.serve_peers(
            &platform,
            &api,
            &config,
            peer_tls.as_ref(),
            &peer_ending,
            &peer_connections,
        );
        let ready = CancellationToken::new();
        let waiting = WaitingForTheCluster {
            api: Arc::clone(&api),
            sockets,
            config,
            tls,
            ending: ending.clone(),
            connections: connections.clone(),
            ready: ready.clone(),
        };
        // Tracked, so that a stop waits for it.
        drop(connections.spawn(waiting.serve_clients()));
        Ok(Self {
            replica,
            api,
            client_addrs,
            peer_addrs,
            fatal,
            ready,
            ending,
            connections,
            peer_ending,
            peer_connections,
            background,
        })
    }
}

/// A member that has no answers yet: it has no leader, is behind, or has still to be compared.
struct WaitingForTheCluster<P: Platform> {
    api: Arc<Api<P>>,
    sockets: ClientSockets,
    config: Config,
    tls: Option<Arc<Tls>>,
    ending: Ending,
    connections: TaskTracker,
    ready: CancellationToken,
}

impl<P: Platform> WaitingForTheCluster<P> {
    /// Serves clients once the group knows this member. Until then the system holds their
    /// connections, as etcd lets it.
    async fn serve_clients(self) {
        let Self { api, sockets, config, tls, ending, connections, ready } = self;
        let known = async {
            api.replica.published().await;
            set_cluster_version(&api).await;
            !config.corruption.initially
                || corruption::check_before_serving(&api, &config.data_dir).await
        };
        let may_serve = tokio::select! {
            may_serve = known => may_serve,
            () = ending.drain.cancelled() => false,
        };
        if !may_serve {
            return;
        }
        sockets.serve(&api, &config, tls.as_ref(), &ending, &connections);
        ready.cancel();
    }
}

/// What a data directory begins as; without effect where one has begun, but for a forced cluster.
struct Beginning {
    own: Member,
    others: Vec<Member>,
    cluster: ClusterId,
    bootstrap: Bootstrap,
}

impl Beginning {
    async fn of<P: Platform<Transport = GrpcTransport>>(
        platform: &P,
        config: &Config,
        sockets: &Sockets,
    ) -> Result<Self, StartError> {
        let own = record(config, &config.name, &config.bootstrap.advertise_peer_urls);
        if has_begun(&config.data_dir) {
            // It keeps its id, its cluster and its URLs, whatever the flags say.
            let force = config.bootstrap.force_new_cluster;
            let bootstrap = if force { Bootstrap::ForceNew } else { Bootstrap::New };
            let cluster = cluster_id(&[NodeId(own.id)]);
            return Ok(Self { own, others: Vec::new(), cluster, bootstrap });
        }
        let discovered = match &config.bootstrap.cluster {
            InitialCluster::Discovered(place) => Some(discovery::find(config, place).await?),
            InitialCluster::ThisMember | InitialCluster::Listed(_) => None,
        };
        let discovered = discovered.as_deref();
        if config.bootstrap.state == ClusterState::Existing {
            let join::Place { cluster, own, others } =
                join::find_place(&platform.transport(), config, discovered).await?;
            return Ok(Self { own, others, cluster, bootstrap: Bootstrap::Join });
        }
        let members = config.bootstrap.initial_members(&config.name, discovered)?;
        let all = members.iter().map(|member| record(config, &member.name, &member.peer_urls));
        let (own, mut others): (Vec<Member>, Vec<Member>) =
            all.partition(|member| member.name == config.name);
        if discovered.is_some() {
            // DNS knows no names, and those made up here differ from member to member.
            for member in &mut others {
                member.name.clear();
            }
        }
        let ids: Vec<NodeId> = own.iter().chain(&others).map(|member| NodeId(member.id)).collect();
        let own = own.into_iter().next().unwrap_or_default();
        let busy = sockets.turn_peers_away();
        started::refuse(&platform.transport(), NodeId(own.id), &others, busy).await?;
        Ok(Self { own, others, cluster: cluster_id(&ids), bootstrap: Bootstrap::New })
    }
}

/// A member as it begins a cluster.
fn record(config: &Config, name: &str, peer_urls: &[Url]) -> Member {
    let peer_urls = texts(peer_urls);
    Member {
        id: initial_member_id(&peer_urls, &config.bootstrap.token).get(),
        name: name.to_owned(),
        peer_ur_ls: peer_urls,
        ..Member::default()
    }
}

/// Whether the directory has a log, and with it members of its own. What cannot be read is left to
/// the replica, which says what is wrong.
fn has_begun(data_dir: &Path) -> bool {
    let path = data_dir.join("MANIFEST");
    match std::fs::read(&path) {
        Ok(bytes) => Manifest::decode(&path, &bytes).is_ok_and(|manifest| manifest.initialized),
        Err(_) => false,
    }
}

async fn open<P: Platform>(
    platform: &P,
    config: &Config,
    beginning: Beginning,
    observer: Observer<P>,
) -> Result<Replica<P>, OpenError> {
    let Beginning { own, others, cluster, bootstrap } = beginning;
    let start = Start {
        data_dir: config.data_dir.clone(),
        settings: settings(config, NodeId(own.id)),
        cluster,
        member: Member { client_ur_ls: texts(&config.bootstrap.advertise_client_urls), ..own },
        peers: others,
        bootstrap,
        observer: Arc::new(observer),
    };
    Replica::open(platform.clone(), start).await
}

fn settings(config: &Config, id: NodeId) -> Settings {
    Settings {
        id,
        heartbeat_interval: config.raft.heartbeat_interval,
        election_timeout: config.raft.election_timeout,
        request_timeout: config.raft.request_timeout(),
        checkpoint_entries: config.raft.snapshot_count,
        catchup_entries: config.raft.snapshot_catchup_entries,
        max_inflight_proposals: MAX_INFLIGHT_PROPOSALS,
        max_inflight_bytes: MAX_INFLIGHT_BYTES,
        read_mode: config.raft.read_mode,
    }
}

fn texts(urls: &[Url]) -> Vec<String> {
    urls.iter().map(|url| url.as_str().to_owned()).collect()
}

/// A cluster begins at this version of the API. There is no older one yet from which it would have to
/// be raised once all its members are new enough.
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
