//! One life of one member: the shipped code around its replica, as a node puts it together.

use std::future::{Future, pending};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openraft_rt::Select2;
use openraft_rt_sim::SimRuntime;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use vetch_proto::etcdserverpb::Member as MemberRecord;
use vetch_proto::vetchpb::proposal::Command;
use vetch_raft::{
    ApplyObserver, AsyncRuntime, Bootstrap, MemberRules, OpenError, Replica, Start, Status,
    StopReason,
};
use vetch_server::compactor::{CompactionState, Pace};
use vetch_server::config::{Loaded, load};
use vetch_server::lease::Leases;
use vetch_server::metrics::Metrics;
use vetch_server::rpc::quota::Quota;
use vetch_server::rpc::range_body::AnswerBudget;
use vetch_server::rpc::{Api, Identity, Limits};
use vetch_server::watch::WatchHub;
use vetch_storage::engine::mem::MemEngine;
use vetch_storage::{Applied, ClusterId, Fatal, NodeId, ReadView};

use super::clock::ProcessRuntime;
use super::machine::Machine;
use super::oracle::Oracle;
use super::process::{Gone, Inside, Process};
use super::shape::Shape;

pub(super) const CLUSTER: ClusterId = ClusterId(7);

/// Where a member has its files.
pub(super) fn data_dir() -> PathBuf {
    PathBuf::from("/data")
}

/// Where its log is.
pub(super) fn wal_dir() -> PathBuf {
    data_dir().join("member/wal")
}

/// A member that serves.
pub struct Life {
    /// Whose.
    pub id: u64,
    /// What it runs as.
    pub process: Process,
    /// Consensus and state.
    pub replica: Replica<Machine>,
    /// Its leases.
    pub leases: Arc<Leases<Machine>>,
    /// Its services.
    pub api: Arc<Api<Machine>>,
    /// Ends its streams.
    pub stop: CancellationToken,
    /// Damage that reads find, until somebody waits for it.
    found: Mutex<Option<mpsc::UnboundedReceiver<Fatal>>>,
    serves_clients: AtomicBool,
}

/// How a member came to be.
#[derive(Clone, Debug)]
pub enum Origin {
    /// It is one of those that began the cluster.
    Founder,
    /// It was added when these were members.
    Joiner(Vec<MemberRecord>),
}

impl std::fmt::Debug for Life {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Life").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Hands on what was applied, in the node's order, and tells the oracles.
struct Observer {
    id: NodeId,
    oracle: Oracle,
    leases: Arc<Leases<Machine>>,
    watch: Arc<WatchHub<Machine>>,
    compaction: Arc<CompactionState>,
}

impl ApplyObserver<Machine> for Observer {
    fn on_applied(&self, view: &ReadView<MemEngine>, applied: &[Arc<Applied>]) {
        self.oracle.applied(self.id, view, applied);
        self.leases.on_applied(applied);
        self.watch.on_applied(view, applied);
        self.compaction.follow(view.compact_revision());
    }

    fn on_installed(&self, view: &ReadView<MemEngine>) {
        self.oracle.installed(self.id, view);
        self.watch.on_installed(view);
        self.compaction.follow(view.compact_revision());
    }

    fn on_command(&self, command: &Command, applied: &Applied, _: Duration) {
        self.oracle.command(command, applied);
    }
}

/// What a member says of itself.
pub(super) fn record(id: u64) -> MemberRecord {
    MemberRecord {
        id,
        name: format!("m{id}"),
        peer_ur_ls: vec![format!("http://m{id}:2380")],
        client_ur_ls: vec![format!("http://m{id}:2379")],
        ..MemberRecord::default()
    }
}

impl Life {
    /// Opens the member on `machine` and puts together what a node has.
    pub(super) async fn begin(
        id: u64,
        machine: Machine,
        shape: &Shape,
        origin: &Origin,
        oracle: Oracle,
    ) -> Result<Result<Self, OpenError>, Gone> {
        let process = machine.process.clone();
        let (fatal, found) = mpsc::unbounded_channel::<Fatal>();
        let leases = Leases::new(shape.leases(), shape.seed ^ id);
        let watch = WatchHub::new(shape.watch, fatal.clone());
        let (leases, watch) = (Arc::new(leases), Arc::new(watch));
        let compaction = Arc::new(CompactionState::default());
        let observer = Observer {
            id: NodeId(id),
            oracle,
            leases: Arc::clone(&leases),
            watch: Arc::clone(&watch),
            compaction: Arc::clone(&compaction),
        };
        let (bootstrap, peers) = match origin {
            Origin::Founder => {
                let others = (1..=shape.members).filter(|peer| *peer != id);
                (Bootstrap::New, others.map(record).collect())
            }
            Origin::Joiner(others) => (Bootstrap::Join, others.clone()),
        };
        let start = Start {
            data_dir: data_dir(),
            settings: shape.settings(id),
            cluster: CLUSTER,
            member: record(id),
            peers,
            bootstrap,
            observer: Arc::new(observer),
        };
        let replica = match process.enter(Replica::open(machine.clone(), start)).await? {
            Ok(replica) => replica,
            Err(error) => return Ok(Err(error)),
        };
        let stop = CancellationToken::new();
        let serve = || {
            watch.begin(&replica.view());
            serve(replica.clone(), machine, leases, watch, compaction, fatal, stop.clone())
        };
        let api = Arc::new(process.run(serve));
        let leases = Arc::clone(&api.leases);
        let serves_clients = AtomicBool::new(false);
        let found = Mutex::new(Some(found));
        Ok(Ok(Self { id, process, replica, leases, api, stop, found, serves_clients }))
    }

    /// Why the member must stop, as soon as there is a reason: as its node hears it. To be asked for once.
    pub(super) fn failed(&self) -> Inside<impl Future<Output = StopReason> + Send + 'static> {
        let found = self.found.lock().take();
        let (replica, mut found) = (self.replica.clone(), found.expect("asked for once"));
        self.process.enter(async move {
            let found = async move {
                match found.recv().await {
                    Some(fatal) => fatal.into(),
                    None => pending().await,
                }
            };
            let replica = async move { replica.fatal().await };
            match SimRuntime::select2(pin!(replica), pin!(found)).await {
                Select2::First(reason) | Select2::Second(reason) => reason,
            }
        })
    }

    /// Clients are let in from now on.
    pub(super) fn serve_clients(&self) {
        self.serves_clients.store(true, Ordering::Relaxed);
    }

    /// Whether clients are let in.
    pub fn serves_clients(&self) -> bool {
        self.serves_clients.load(Ordering::Relaxed)
    }

    /// What the member knows now.
    pub fn status(&self) -> Status {
        self.process.run(|| self.replica.status())
    }
}

fn serve(
    replica: Replica<Machine>,
    machine: Machine,
    leases: Arc<Leases<Machine>>,
    watch: Arc<WatchHub<Machine>>,
    compaction: Arc<CompactionState>,
    fatal: mpsc::UnboundedSender<Fatal>,
    stop: CancellationToken,
) -> Api<Machine> {
    let Ok(Loaded::Run(config)) = load(&[], &[]) else { unreachable!("the defaults are valid") };
    let metrics = Arc::new(Metrics::new(&config));
    drop(leases.start(replica.clone(), metrics.lease.clone(), stop.clone()));
    let (deleting, compactor, failed) =
        (Arc::clone(&compaction), replica.compactor(), fatal.clone());
    let measured = metrics.mvcc.clone();
    let pace = Pace { batch: 3, pause: Duration::from_millis(1) };
    drop(ProcessRuntime::spawn(async move {
        drop(failed.send(deleting.run(machine, compactor, pace, measured).await));
    }));
    let identity = replica.identity();
    Api::new(
        replica,
        Identity { cluster_id: identity.cluster, member_id: identity.member },
        Limits { max_request_bytes: 1 << 26, max_txn_ops: 128, members: MemberRules::default() },
        Quota::new(None),
        AnswerBudget::new(1 << 20),
        leases,
        watch,
        compaction,
        PathBuf::from("/spool"),
        metrics,
        config.warnings,
        fatal,
        stop,
    )
}
