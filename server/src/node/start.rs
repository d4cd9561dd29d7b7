//! From the configuration to a node that serves.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vetch_proto::etcdserverpb::Member;
use vetch_proto::vetchpb::ClusterVersionSet;
use vetch_proto::vetchpb::proposal::Command;
use vetch_raft::replica::Start;
use vetch_raft::{OpenError, Platform, Replica, Settings};

use super::apply_meter::ApplyMeter;
use super::observer::Observer;
use super::{Node, gauges, http, listen, maintain};
use crate::auto_compaction;
use crate::compactor::{CompactionState, Pace};
use crate::config::{ClusterState, Config, Url};
use crate::edge::connection::Transport;
use crate::edge::listener::{Connections, Dealer, Listener};
use crate::edge::service::{EdgeService, Offer};
use crate::edge::socket::Listening;
use crate::http::{client_router, metrics_router};
use crate::lease::{LeaseSettings, Leases};
use crate::metrics::{self, Metrics};
use crate::rpc::quota::Quota;
use crate::rpc::range_body::AnswerBudget;
use crate::rpc::{Api, Identity, Limits};
use crate::version::CLUSTER_VERSION;
use crate::watch::{self, WatchHub};

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

/// How long a client may take for the head of an HTTP/1 request, as in etcd.
const HEADER_TIMEOUT: Duration = Duration::from_mins(5);
/// An unanswered ping is waited for this long when the flag says "for ever".
const NO_TIMEOUT: Duration = Duration::from_secs(u32::MAX as u64);
/// Memory of large answers: this part of `--memory-budget`.
const ANSWER_SHARE: u64 = 4;
/// What may wait for one watch stream.
const WATCH_OUTBOX_BYTES: usize = 4 * 1024 * 1024;
/// Newest events kept for watchers a little behind.
const EVENT_LOG_BYTES: usize = 16 * 1024 * 1024;
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
        let stop = CancellationToken::new();
        let (fatal_sender, fatal) = mpsc::unbounded_channel();
        refuse_joining(&config)?;
        let sockets = Sockets::bind(&config)?;
        let leases = Arc::new(Leases::new(lease_settings(&config), platform.random()));
        let watch =
            Arc::new(WatchHub::new(watch_settings(&config), fatal_sender.clone(), stop.clone()));
        let compaction = Arc::new(CompactionState::default());
        let observer = Observer {
            leases: Arc::clone(&leases),
            watch: Arc::clone(&watch),
            compaction: Arc::clone(&compaction),
            meter: ApplyMeter { metrics: Arc::clone(&metrics), warn_after: config.warnings.apply },
        };
        let replica = open(&platform, &config, observer).await?;
        let view = replica.view();
        watch.begin(&view);
        compaction.follow(view.compact_revision());
        let identity = Identity {
            cluster_id: replica.identity().cluster,
            member_id: replica.identity().member,
        };
        metrics.identify(metrics::Identity { member_id: identity.member_id.get() });
        let api = Arc::new(Api::new(
            replica.clone(),
            identity,
            Limits {
                max_request_bytes: config.limits.max_request_bytes,
                max_txn_ops: config.limits.max_txn_ops,
            },
            Quota::from(config.storage.quota),
            AnswerBudget::new(answer_bytes(&config)),
            Arc::clone(&leases),
            watch,
            Arc::clone(&compaction),
            config.data_dir.join("member").join("snap"),
            Arc::clone(&metrics),
            config.warnings,
            fatal_sender.clone(),
        ));
        gauges::mirror(&api);
        let mut background = Vec::new();
        background.push(tokio::spawn({
            let (platform, replica) = (platform.clone(), replica.clone());
            let fatal = fatal_sender.clone();
            async move {
                drop(fatal.send(maintain::run(platform, replica).await));
            }
        }));
        background.push(tokio::spawn({
            let (compactor, pace) = (replica.compactor(), pace(&config));
            let (platform, fatal) = (platform.clone(), fatal_sender);
            let measured = metrics.mvcc.clone();
            async move {
                drop(fatal.send(compaction.run(platform, compactor, pace, measured).await));
            }
        }));
        // These end by the token, and have nothing to finish.
        drop(leases.start(replica.clone(), metrics.lease.clone(), stop.clone()));
        let auto = config.compaction.auto;
        drop(auto_compaction::start(replica.clone(), auto, stop.clone()));
        background.push(tokio::spawn(gauges::count_leaders(replica.clone(), metrics)));
        set_cluster_version(&api).await;
        let connections = TaskTracker::new();
        let client_addrs = sockets.serve(&api, &config, &stop, &connections)?;
        Ok(Self { replica, api, client_addrs, fatal, stop, connections, background })
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

fn watch_settings(config: &Config) -> watch::Settings {
    watch::Settings {
        progress_interval: config.watch_progress_notify_interval,
        fragment_bytes: config.limits.grpc_receive_bytes(),
        outbox_bytes: WATCH_OUTBOX_BYTES,
        event_log_bytes: EVENT_LOG_BYTES,
        piece_bytes: watch::Settings::PIECE_BYTES,
        piece_revisions: watch::Settings::PIECE_REVISIONS,
    }
}

fn lease_settings(config: &Config) -> LeaseSettings {
    LeaseSettings {
        min_ttl: config.raft.min_lease_ttl_seconds(),
        extension: config.raft.election_timeout,
        request_timeout: config.raft.request_timeout(),
        checkpoint_interval: Some(LeaseSettings::CHECKPOINT_INTERVAL),
    }
}

fn pace(config: &Config) -> Pace {
    Pace { batch: config.compaction.batch_limit, pause: config.compaction.sleep_interval }
}

fn answer_bytes(config: &Config) -> usize {
    usize::try_from(config.storage.memory_budget_bytes / ANSWER_SHARE).unwrap_or(usize::MAX)
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

/// Every listening socket of a node, bound before anything is opened: a taken port is found at once.
struct Sockets {
    client: Vec<Listening>,
    client_http: Vec<Listening>,
    metrics: Vec<Listening>,
}

impl Sockets {
    fn bind(config: &Config) -> Result<Self, StartError> {
        let bind = |urls: &[Url]| -> Result<Vec<_>, StartError> {
            urls.iter().map(|url| listen::bind(url, &config.listen)).collect()
        };
        Ok(Self {
            client: bind(&config.listen.client_urls)?,
            client_http: bind(&config.listen.client_http_urls)?,
            metrics: bind(&config.listen.metrics_urls)?,
        })
    }

    fn serve<P: Platform>(
        self,
        api: &Arc<Api<P>>,
        config: &Config,
        stop: &CancellationToken,
        connections: &TaskTracker,
    ) -> Result<Vec<SocketAddr>, StartError> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let dealer = Dealer::start(Dealer::suitable_edges(cores)).map_err(StartError::Thread)?;
        let shared = Connections::new(transport(config), dealer);
        let http = http::state(api, config.http.clone());
        let start = |socket, router: Router, offer| {
            let service = EdgeService::new(Arc::clone(api), router, offer);
            let listener = Listener::new(socket, service, shared.clone());
            drop(tokio::spawn(listener.run(stop.clone(), connections.clone())));
        };
        let offer = if self.client_http.is_empty() { Offer::Both } else { Offer::GrpcOnly };
        let mut addresses = Vec::new();
        for (socket, url) in self.client.into_iter().zip(&config.listen.client_urls) {
            let address = socket.local_addr().map_err(StartError::Thread)?;
            start(socket, client_router(http.clone()), offer);
            let at = address.map_or_else(|| url.to_string(), |address| address.to_string());
            tracing::info!(address = at, "ready to serve client requests");
            addresses.extend(address);
        }
        for socket in self.client_http {
            start(socket, client_router(http.clone()), Offer::HttpOnly);
        }
        for socket in self.metrics {
            start(socket, metrics_router(http.clone()), Offer::HttpOnly);
        }
        Ok(addresses)
    }
}

fn transport(config: &Config) -> Transport {
    Transport {
        max_concurrent_streams: config.limits.max_concurrent_streams,
        keepalive_min_time: config.keepalive.min_time,
        keepalive_interval: config.keepalive.interval,
        keepalive_timeout: config.keepalive.timeout.unwrap_or(NO_TIMEOUT),
        header_timeout: HEADER_TIMEOUT,
    }
}

impl From<crate::config::Quota> for Quota {
    fn from(quota: crate::config::Quota) -> Self {
        match quota {
            crate::config::Quota::Unlimited => Self::new(None),
            crate::config::Quota::Bytes(bytes) => Self::new(Some(bytes)),
        }
    }
}
