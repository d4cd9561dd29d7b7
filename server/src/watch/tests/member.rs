//! The node's part of watch, around a replica on a simulated machine.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use openraft_rt_sim::SimRuntime;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use vetch_proto::etcdserverpb::Member as MemberRecord;
use vetch_proto::vetchpb::proposal::Command;
use vetch_raft::platform::sim::Sim;
use vetch_raft::{ApplyObserver, AsyncRuntime, Replica, Settings, Start};
use vetch_storage::engine::mem::MemEngine;
use vetch_storage::{Applied, ClusterId, Fatal, NodeId, ReadView, Response, Revision};

use super::client::Client;
use crate::compactor::{CompactionState, Pace};
use crate::config::{Config, Loaded, load};
use crate::lease::{LeaseSettings, Leases};
use crate::metrics::Metrics;
use crate::rpc::quota::Quota;
use crate::rpc::range_body::AnswerBudget;
use crate::rpc::{Api, Identity, Limits};
use crate::watch::{self, WatchHub};

/// Bounds so small that few events pass them.
pub(super) const SMALL: watch::Settings = watch::Settings {
    progress_interval: Duration::from_millis(100),
    fragment_bytes: 600,
    outbox_bytes: 1024,
    event_log_bytes: 2048,
    piece_bytes: 512,
    piece_revisions: 4,
};

/// What a shipped node has.
pub(super) const USUAL: watch::Settings = watch::Settings {
    progress_interval: Duration::from_mins(10),
    fragment_bytes: 2 * 1024 * 1024,
    outbox_bytes: 4 * 1024 * 1024,
    event_log_bytes: 16 * 1024 * 1024,
    piece_bytes: watch::Settings::PIECE_BYTES,
    piece_revisions: watch::Settings::PIECE_REVISIONS,
};

/// Hands on what the replica applies, as the node does.
struct Observer {
    leases: Arc<Leases<Sim>>,
    watch: Arc<WatchHub<Sim>>,
    compaction: Arc<CompactionState>,
    lags: Arc<AtomicBool>,
    installed: Arc<AtomicUsize>,
}

impl ApplyObserver<Sim> for Observer {
    fn on_applied(&self, view: &ReadView<MemEngine>, applied: &[Arc<Applied>]) {
        self.leases.on_applied(applied);
        if !self.lags.load(Ordering::Relaxed) {
            self.watch.on_applied(view, applied);
        }
        self.compaction.follow(view.compact_revision());
    }

    fn on_installed(&self, view: &ReadView<MemEngine>) {
        self.watch.on_installed(view);
        self.compaction.follow(view.compact_revision());
        self.installed.fetch_add(1, Ordering::Relaxed);
    }
}

pub(super) struct Member {
    pub(super) api: Arc<Api<Sim>>,
    pub(super) stop: CancellationToken,
    pub(super) machine: Sim,
    lags: Arc<AtomicBool>,
    /// States of peers that were put in the place of its own.
    pub(super) installed: Arc<AtomicUsize>,
    _fatal: mpsc::UnboundedReceiver<Fatal>,
}

/// Runs `test` on a fresh member, on virtual time; everything that is chance comes from `seed`.
pub(super) fn run<T, F: Future<Output = T>>(
    seed: u64,
    settings: watch::Settings,
    test: impl FnOnce(Arc<Member>) -> F,
) -> T {
    SimRuntime::with_seed(seed).block_on(async {
        let member = Arc::new(Member::start(seed, settings).await);
        let outcome = test(Arc::clone(&member)).await;
        member.stop.cancel();
        member.api.replica.shutdown().await;
        outcome
    })
}

/// Lets everything that can happen by itself happen.
pub(super) async fn settle() {
    pass(Duration::from_millis(1)).await;
}

pub(super) async fn pass(time: Duration) {
    SimRuntime::sleep(time).await;
}

fn config() -> Config {
    match load(&[], &[]).unwrap() {
        Loaded::Run(config) => *config,
        Loaded::Version | Loaded::Help => panic!("no arguments, no help"),
    }
}

pub(super) fn replica_settings() -> Settings {
    Settings {
        id: NodeId(1),
        heartbeat_interval: Duration::from_millis(100),
        election_timeout: Duration::from_secs(1),
        request_timeout: Duration::from_secs(7),
        checkpoint_entries: 10_000,
        catchup_entries: 100,
        max_inflight_proposals: 5_000,
        max_inflight_bytes: 1 << 26,
        read_mode: vetch_raft::ReadMode::ReadIndex,
    }
}

impl Member {
    async fn start(seed: u64, settings: watch::Settings) -> Self {
        let start = |observer: Arc<dyn ApplyObserver<Sim>>| Start {
            data_dir: PathBuf::from("/data"),
            settings: replica_settings(),
            cluster: ClusterId(7),
            member: MemberRecord { id: 1, ..MemberRecord::default() },
            peers: Vec::new(),
            bootstrap: vetch_raft::Bootstrap::New,
            observer,
        };
        Self::start_on(Sim::new(seed), seed, settings, start).await
    }

    /// A member on `machine`, started as `start` says.
    pub(super) async fn start_on(
        machine: Sim,
        seed: u64,
        settings: watch::Settings,
        start: impl FnOnce(Arc<dyn ApplyObserver<Sim>>) -> Start<Sim>,
    ) -> Self {
        let (config, stop) = (config(), CancellationToken::new());
        let (sender, fatal) = mpsc::unbounded_channel();
        let watch = Arc::new(WatchHub::new(settings, sender.clone()));
        let compaction = Arc::new(CompactionState::default());
        let lags = Arc::new(AtomicBool::new(false));
        let lease_settings = LeaseSettings {
            min_ttl: 2,
            extension: Duration::from_secs(1),
            request_timeout: Duration::from_secs(7),
            checkpoint_interval: None,
        };
        let leases = Arc::new(Leases::new(lease_settings, seed));
        let installed = Arc::<AtomicUsize>::default();
        let observer = Observer {
            leases: Arc::clone(&leases),
            watch: Arc::clone(&watch),
            compaction: Arc::clone(&compaction),
            lags: Arc::clone(&lags),
            installed: Arc::clone(&installed),
        };
        let start = start(Arc::new(observer));
        let member_id = start.settings.id;
        let replica = Replica::open(machine.clone(), start).await.unwrap();
        watch.begin(&replica.view());
        let (metrics, deleting) = (Arc::new(Metrics::new(&config)), Arc::clone(&compaction));
        let (compactor, measured) = (replica.compactor(), metrics.mvcc.clone());
        let pace = Pace { batch: 3, pause: Duration::from_millis(1) };
        let its = machine.clone();
        drop(SimRuntime::spawn(async move {
            drop(deleting.run(its, compactor, pace, measured).await);
        }));
        let api = Api::new(
            replica,
            Identity { cluster_id: ClusterId(7), member_id },
            Limits {
                max_request_bytes: 1 << 26,
                max_txn_ops: 128,
                members: vetch_raft::MemberRules::default(),
            },
            Quota::new(None),
            AnswerBudget::new(1 << 20),
            leases,
            watch,
            compaction,
            PathBuf::from("/spool"),
            metrics,
            config.warnings,
            sender,
            stop.clone(),
        );
        Self { api: Arc::new(api), stop, machine, lags, installed, _fatal: fatal }
    }

    /// A new stream.
    pub(super) fn client(&self) -> Client {
        Client::new(&self.api)
    }

    pub(super) async fn propose(&self, command: Command) -> (Response, Revision) {
        self.api.propose(command, 0).await.unwrap()
    }

    pub(super) fn lags(&self) -> bool {
        self.lags.load(Ordering::Relaxed)
    }

    /// Begins to keep what is applied from the hub, or ends it: then the hub gets the whole state, as
    /// after a snapshot was installed.
    pub(super) fn lag(&self, lags: bool) {
        if self.lags.swap(lags, Ordering::Relaxed) && !lags {
            self.api.watch.on_installed(&self.api.replica.view());
        }
    }

    pub(super) fn revision(&self) -> i64 {
        self.api.replica.view().revision().get()
    }
}
