//! From a data directory to a member that serves.
//!
//! - `directory`: what is opened. `history`: log and engine held against each other. `publish`: from an
//!   open replica to one that its group knows.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::join;
use openraft::Raft;
use openraft::error::Fatal as RaftFatal;
use openraft_rt::{AsyncRuntime, Select2, WatchReceiver};
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::oneshot;
use vetch_proto::etcdserverpb::Member;
use vetch_proto::vetchpb::MemberRecord;
use vetch_storage::{ClusterId, Fatal, LogIndex, NodeId, StateMachine, Views};

use super::admission::Admission;
use super::awaited::Awaited;
use super::checkpoint::Checkpoints;
use super::compare::recent::Recent;
use super::compare::{Comparison, compare_states};
use super::engines::{Engines, Home};
use super::force::force_new_cluster;
use super::heartbeat::beat;
use super::leadership::{Leadership, follow};
use super::membership::tend;
use super::progress::Progress;
use super::question::Answering;
use super::read_index::Rounds;
use super::receive::Inbox;
use super::service::Service;
use super::shutdown::Running;
use super::stop::{Stop, StopReason};
use super::{ApplyObserver, Inner, OpenError, RaftOf, Replica, Settings, config};
use crate::apply::Applier;
use crate::apply::snapshot::SnapshotMarks;
use crate::disk::Disk;
use crate::log::LogStore;
use crate::manifest::{self, DirLock, Identity, Manifest, StateInUse};
use crate::platform::Platform;
use crate::platform::latest::Latest;
use crate::transport::network::Network;
use crate::transport::peer::{Peers, Timing};
use crate::transport::roster::Roster;
use crate::transport::{Addresses, Transport};
use crate::types::{Cause, Entry, Payload, TypeConfig};

mod directory;
pub(super) mod history;
mod publish;

use directory::{open_machine, read_or_make, refuse_diverged, take_directory};
use history::{begin_log, begin_log_behind_engine, check_log, drop_contradicted, first_entries};
use publish::{is_alone, keep_publishing, lead, publish};

/// What a member starts from.
pub struct Start<P: Platform> {
    /// Holds everything the member has; created when it is not there.
    pub data_dir: PathBuf,
    /// How it behaves.
    pub settings: Settings,
    /// The cluster a fresh directory becomes part of; an older one keeps its own.
    pub cluster: ClusterId,
    /// This member's record as its flags have it. The id is the directory's or the settings'; name
    /// and client URLs are published when they differ from what the group knows; peer URLs count
    /// in a fresh directory only.
    pub member: Member,
    /// The other voters of the cluster that a fresh directory begins; none for a group of one. Every
    /// member of it must be given the same ids, peer URLs, and names (or no names but its own): each
    /// writes the same first entries into its own log. With [`Bootstrap::Join`]: members that can be asked, as they are known.
    pub peers: Vec<Member>,
    /// How a fresh directory begins, and what becomes of an old one.
    pub bootstrap: Bootstrap,
    /// Hears what is applied, from the first entry the engine does not have yet.
    pub observer: Arc<dyn ApplyObserver<P>>,
}

/// How a member comes to be in its group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bootstrap {
    /// A fresh directory begins a cluster, with the others that are named.
    #[default]
    New,
    /// A fresh directory becomes that of a member that was added to a running cluster, under the id it
    /// was added with: its log is empty until the leader fills it.
    Join,
    /// What is in the directory goes on as a cluster of this member alone, under a new cluster id; the
    /// others are removed. A fresh directory begins one.
    ForceNew,
}

impl<P: Platform> fmt::Debug for Start<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start")
            .field("data_dir", &self.data_dir)
            .field("settings", &self.settings)
            .field("cluster", &self.cluster)
            .field("member", &self.member)
            .field("peers", &self.peers)
            .field("bootstrap", &self.bootstrap)
            .finish_non_exhaustive()
    }
}

/// Everything open, nothing running.
struct Parts<P: Platform> {
    settings: Settings,
    data_dir: PathBuf,
    manifest: Manifest,
    machine: StateMachine<P::Engine>,
    log: LogStore,
    disk: Arc<dyn Disk>,
    home: Arc<dyn Disk>,
    observer: Arc<dyn ApplyObserver<P>>,
    lock: Arc<DirLock>,
    /// Members that are known before the log says so.
    known: Vec<Member>,
    /// How long it may let nobody lead, for what it promised in its last life.
    hold: Duration,
}

/// See [`Replica::open`].
pub(super) async fn open<P: Platform>(
    platform: P,
    start: Start<P>,
) -> Result<Replica<P>, OpenError> {
    let Start { data_dir, settings, cluster, member, peers, bootstrap, observer } = start;
    let lock = Arc::new(take_directory(&platform, &data_dir).await?);
    let home = platform.open_disk(&data_dir).map_err(Fatal::from)?;
    let fresh = || Manifest {
        identity: Identity { cluster, member: settings.id, instance: platform.random() },
        engine: platform.engine_name().to_owned(),
        initialized: false,
        joins: bootstrap == Bootstrap::Join,
        forcing: false,
        state: StateInUse::default(),
        diverged: None,
        keeps_ms: 0,
    };
    let mut manifest = read_or_make(&platform, &*home, fresh).await?;
    refuse_diverged(&*home, &mut manifest, &data_dir, bootstrap).await?;
    let member = Member { id: manifest.identity.member.0, ..member };

    let disk = platform.open_disk(&data_dir.join("member/wal")).map_err(Fatal::from)?;
    let log = LogStore::open(Arc::clone(&disk), platform.log_options());
    // Neither needs the other, and both read a lot: a restart takes as long as the slower one.
    let state = manifest.state;
    let machine = open_machine(&platform, &data_dir, state.generation, Arc::clone(&lock));
    let (machine, log) = join(machine, log).await;
    let (machine, log) = (machine?, log.map_err(Fatal::from)?);
    if machine.members().is_removed(manifest.identity.member) {
        return Err(OpenError::Removed);
    }
    if !check_log(&data_dir, &log, &machine, &manifest)? {
        drop_contradicted(&log, machine.applied())?;
        begin_log_behind_engine(&platform, &log, &machine).await?;
    }
    if !manifest.initialized && !manifest.joins {
        begin_log(&log, first_entries(&member, &peers)?).await?;
        manifest.initialized = true;
        manifest::store(&*home, &manifest).await?;
    }
    let has_state = manifest.initialized || manifest.state.installed > LogIndex(0);
    if manifest.forcing || (has_state && bootstrap == Bootstrap::ForceNew) {
        let random = platform.random();
        force_new_cluster(&*home, &mut manifest, &log, &machine, random).await?;
    }
    let known = peers;
    let hold = Duration::from_millis(manifest.keeps_ms);
    let promise = config::promise_ms(&settings);
    if promise > manifest.keeps_ms {
        // On disk before a leader hears of it.
        manifest.keeps_ms = promise;
        manifest::store(&*home, &manifest).await?;
    }
    let parts = Parts {
        settings,
        data_dir,
        manifest,
        machine,
        log,
        disk,
        home,
        observer,
        lock,
        known,
        hold,
    };
    let replica = spawn(platform, parts).await?;
    if is_alone(&replica).await {
        // Peers are heard only when everything is applied: what a lone voter's log says of them holds,
        // and one that was removed must not be listened to once more.
        lead(&replica).await?;
        publish(&replica, &member).await;
        serve_peers(&replica);
    } else {
        serve_peers(&replica);
        drop(P::Runtime::spawn(keep_publishing(replica.clone(), member)));
    }
    Ok(replica)
}

fn serve_peers<P: Platform>(replica: &Replica<P>) {
    let inner = &replica.inner;
    let service = Arc::new(Service(Arc::clone(inner)));
    let serving = inner.platform.transport().serve(inner.identity.member, service);
    if let Some(running) = inner.running.lock().as_mut() {
        running.serving = Some(serving);
    }
}

/// Where peers are: as the group's member table says, or, before that is applied, the log's first
/// entries, or else what is `known` from outside.
fn addresses<E: vetch_storage::Engine>(
    log: &LogStore,
    known: Vec<Member>,
    views: Views<E>,
) -> Result<Addresses, Fatal> {
    let known = known.into_iter().map(|member| (NodeId(member.id), member.peer_ur_ls));
    let mut initial: BTreeMap<NodeId, Vec<String>> = known.collect();
    for index in 0.. {
        let Some(Entry { payload, .. }) = log.read_one(index)? else { break };
        let Payload::Membership { record: Some(record), .. } = payload else { break };
        let Ok(MemberRecord { member: Some(member), .. }) = MemberRecord::decode(record) else {
            break;
        };
        initial.insert(NodeId(member.id), member.peer_ur_ls);
    }
    Ok(Arc::new(move |id| {
        let view = views.latest();
        let known = view.members().get(id).map(|member| member.peer_ur_ls.clone());
        known.or_else(|| initial.get(&id).cloned()).unwrap_or_default()
    }))
}

async fn spawn<P: Platform>(platform: P, parts: Parts<P>) -> Result<Replica<P>, OpenError> {
    let Parts {
        settings,
        data_dir,
        manifest,
        machine,
        log,
        disk,
        home,
        observer,
        lock,
        known,
        hold,
    } = parts;
    let (identity, has_begun) = (manifest.identity, manifest.initialized);
    let raft_config = config::raft_config(&settings, !hold.is_zero())
        .map_err(|error| OpenError::Settings(error.to_string()))?;
    let (progress, marks) = (Arc::<Progress>::default(), Arc::<SnapshotMarks>::default());
    let awaited = Arc::new(Awaited::new(platform.random()));
    let recent = Arc::<Recent>::default();
    let stop = Arc::new(Stop::new());
    let (gone, applier_gone) = oneshot::channel();
    let (views, checkpointer) = (machine.views(), machine.checkpointer());
    let roster = Roster::load(Arc::clone(&home), identity, Arc::clone(&stop))?;
    let home = Home { disk: home, manifest, lock };
    let engines = Engines::new(platform.clone(), data_dir, home, Arc::clone(&stop));
    let engines = Arc::new(engines);
    let applier = Applier::<P>::new(
        machine,
        identity.member.0,
        observer,
        Arc::clone(&progress),
        Arc::clone(&awaited),
        Arc::clone(&stop),
        Arc::clone(&marks),
        Arc::clone(&engines),
        Arc::clone(&recent),
        gone,
    )?;
    let addresses = addresses(&log, known, views.clone())?;
    let peers = Peers::new(platform.clone(), roster, addresses, timing(&settings));
    let peers = Arc::new(peers);
    let network = Network(Arc::clone(&peers));
    let beginning = (!has_begun).then(|| log.clone());
    let backlog = log.backlog();
    let raft: RaftOf<P> = Raft::build(identity.member.0, raft_config, network, log, applier)
        .await
        .map_err(|error| raft_fatal(&error))?;
    let inner = Arc::new(Inner {
        admission: Admission::new(settings.max_inflight_proposals, settings.max_inflight_bytes),
        settings,
        platform,
        identity,
        metrics: raft.metrics(),
        raft,
        views,
        progress,
        marks,
        leadership: Leadership::new(),
        rounds: Rounds::default(),
        peers,
        engines,
        inbox: Inbox::default(),
        awaited,
        changing: tokio::sync::Mutex::new(()),
        answering: Answering::default(),
        comparison: Comparison::new(recent),
        hashing: tokio::sync::Mutex::new(()),
        published: Latest::new(false),
        may_vote: Latest::new(hold.is_zero()),
        backlog,
        handed_over: AtomicU64::new(0),
        stop,
        running: Mutex::new(None),
    });
    inner.raft.run();
    if !hold.is_zero() {
        drop(P::Runtime::spawn(let_vote(Arc::downgrade(&inner), hold)));
    }
    let (stop_checkpoints, stopped) = oneshot::channel();
    let checkpoints = Checkpoints::new(Arc::clone(&inner), checkpointer);
    *inner.running.lock() = Some(Running {
        supervisor: P::Runtime::spawn(supervise(Arc::clone(&inner))),
        checkpoints: P::Runtime::spawn(checkpoints.run(stopped)),
        membership: P::Runtime::spawn(tend(Arc::clone(&inner), beginning)),
        comparison: P::Runtime::spawn(compare_states(Arc::clone(&inner))),
        heartbeat: P::Runtime::spawn(beat(Arc::clone(&inner))),
        stop_checkpoints,
        applier_gone,
        serving: None,
        disk,
    });
    Ok(Replica { inner })
}

/// Lets a member that has just started vote, and campaign, when what it promised in its last life, which is
/// in no memory any more, has been kept.
async fn let_vote<P: Platform>(inner: Weak<Inner<P>>, hold: Duration) {
    P::Runtime::sleep(hold).await;
    let Some(inner) = inner.upgrade() else { return };
    inner.may_vote.set(true);
    inner.raft.runtime_config().elect(true);
    let promise = config::promise_ms(&inner.settings);
    if Duration::from_millis(promise) < hold
        && let Err(fatal) = inner.engines.promise(promise).await
        && !inner.stop.has_begun()
    {
        inner.stop.raise(fatal);
    }
}

/// How long to wait for peers. A stalled stream costs a catch-up, so it has longer than a heartbeat.
fn timing(settings: &Settings) -> Timing {
    let Settings { heartbeat_interval, election_timeout, .. } = *settings;
    Timing {
        longest_pause: heartbeat_interval,
        heartbeat: heartbeat_interval,
        stall: election_timeout,
    }
}

/// The fatal error openraft ended with.
fn raft_fatal<R: AsyncRuntime>(error: &RaftFatal<TypeConfig<R>>) -> Fatal {
    Cause::of(error).fatal().clone()
}

/// Follows openraft until it ends, and says why it did.
async fn supervise<P: Platform>(inner: Arc<Inner<P>>) {
    let reason = inner.stop.reason();
    let ended = P::Runtime::select2(reason, follow(Arc::clone(&inner))).await;
    if let Select2::First(reason) = ended {
        tracing::error!(%reason, "this member stops");
        if matches!(reason, StopReason::Removed | StopReason::Diverged { .. }) {
            // It may lead still, until another does.
            inner.resign().await;
        }
        drop(inner.raft.shutdown().await);
        follow(Arc::clone(&inner)).await;
    } else {
        let state = inner.raft.metrics().borrow_watched().running_state.clone();
        if let Err(error @ (RaftFatal::StorageError(_) | RaftFatal::Panicked)) = state {
            let fatal = raft_fatal(&error);
            tracing::error!(%fatal, "this member stops");
            inner.stop.raise(fatal);
        }
    }
    inner.progress.close();
    inner.awaited.close();
}
