//! From a data directory to a member that serves.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join;
use openraft::Raft;
use openraft::error::Fatal as RaftFatal;
use openraft_rt::{AsyncRuntime, Select2, WatchReceiver};
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::oneshot;
use vetch_proto::etcdserverpb::Member;
use vetch_proto::vetchpb::proposal::Command;
use vetch_proto::vetchpb::{MemberPublish, MemberRecord, Proposal};
use vetch_storage::machine::IndexCheckpoint;
use vetch_storage::{ClusterId, Fatal, LogIndex, NodeId, StateMachine, Views};

use super::admission::Admission;
use super::awaited::Awaited;
use super::checkpoint::Checkpoints;
use super::engines::{self, Engines};
use super::force::force_new_cluster;
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
use crate::apply::snapshot::SnapshotMarks;
use crate::apply::{self, Applier};
use crate::disk::{Disk, DiskError, FileName};
use crate::log::LogStore;
use crate::manifest::{self, DirLock, Identity, Manifest, StateInUse};
use crate::platform::Platform;
use crate::platform::latest::Latest;
use crate::transport::network::Network;
use crate::transport::peer::{Peers, Timing};
use crate::transport::roster::Roster;
use crate::transport::{Addresses, Transport};
use crate::types::{
    Cause, CommittedLeaderId, Entry, Membership, Payload, RaftLogId, TypeConfig, log_index,
    raft_log_id,
};

/// How often a held directory is asked for.
const LOCK_POLL: Duration = Duration::from_millis(100);

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
    /// member of it must be given the same ids, names and peer URLs: each writes the same first
    /// entries into its own log. With [`Bootstrap::Join`]: members that can be asked, as they are known.
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
    lock: DirLock,
    /// Members that are known before the log says so.
    known: Vec<Member>,
}

/// See [`Replica::open`].
pub(super) async fn open<P: Platform>(
    platform: P,
    start: Start<P>,
) -> Result<Replica<P>, OpenError> {
    let Start { data_dir, settings, cluster, member, peers, bootstrap, observer } = start;
    let lock = take_directory(&platform, &data_dir).await?;
    let home = platform.open_disk(&data_dir).map_err(Fatal::from)?;
    let fresh = || Manifest {
        identity: Identity { cluster, member: settings.id, instance: platform.random() },
        engine: platform.engine_name().to_owned(),
        initialized: false,
        joins: bootstrap == Bootstrap::Join,
        forcing: false,
        state: StateInUse::default(),
    };
    let mut manifest = read_or_make(&platform, &*home, fresh).await?;
    let member = Member { id: manifest.identity.member.0, ..member };

    let disk = platform.open_disk(&data_dir.join("member/wal")).map_err(Fatal::from)?;
    let log = LogStore::open(Arc::clone(&disk), platform.log_options());
    // Neither needs the other, and both read a lot: a restart takes as long as the slower one.
    let state = manifest.state;
    let (machine, log) = join(open_machine(&platform, &data_dir, state.generation), log).await;
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
    if manifest.forcing || (manifest.initialized && bootstrap == Bootstrap::ForceNew) {
        let random = platform.random();
        force_new_cluster(&*home, &mut manifest, &log, &machine, random).await?;
    }
    let known = peers;
    let parts =
        Parts { settings, data_dir, manifest, machine, log, disk, home, observer, lock, known };
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

/// Makes the directory and waits for the right to use it.
async fn take_directory<P: Platform>(platform: &P, dir: &Path) -> Result<DirLock, OpenError> {
    let failed = |error: io::Error| OpenError::Directory {
        path: dir.to_owned(),
        message: error.to_string(),
    };
    platform.create_dir(&dir.join("member/snap")).map_err(failed)?;
    let mut waiting = false;
    loop {
        if let Some(lock) = platform.try_lock(dir).map_err(failed)? {
            if waiting {
                tracing::info!(path = %dir.display(), "the data directory is free; going on");
            }
            return Ok(lock);
        }
        if !std::mem::replace(&mut waiting, true) {
            tracing::warn!(
                path = %dir.display(),
                "another process uses this data directory; waiting until it ends"
            );
        }
        // Asked again and again, not waited for in the kernel, so that a signal can end the wait.
        P::Runtime::sleep(LOCK_POLL).await;
    }
}

/// The directory's manifest; a fresh directory gets `fresh`.
async fn read_or_make<P: Platform>(
    platform: &P,
    home: &dyn Disk,
    fresh: impl FnOnce() -> Manifest,
) -> Result<Manifest, OpenError> {
    if let Some(manifest) = manifest::load(home)? {
        let path = home.path(&FileName::new("MANIFEST"));
        manifest.check_engine(&path, platform.engine_name())?;
        return Ok(manifest);
    }
    let manifest = fresh();
    manifest::store(home, &manifest).await?;
    Ok(manifest)
}

async fn open_machine<P: Platform>(
    platform: &P,
    data_dir: &Path,
    generation: u64,
) -> Result<StateMachine<P::Engine>, Fatal> {
    let engine_dir = engines::engine_dir(data_dir, generation);
    let (preparer, data_dir) = (platform.clone(), data_dir.to_owned());
    let prepare = move || {
        engines::remove_leftovers(&preparer, &data_dir, generation);
        engines::options(&preparer, &data_dir, generation)
    };
    let options = platform.blocking(prepare).await?;
    let checkpoint_dir = options.checkpoint_dir.clone();
    let opener = platform.clone();
    let engine = platform.blocking(move || opener.open_engine(&engine_dir));
    let checkpoint = platform.blocking(move || match checkpoint_dir {
        Some(directory) => IndexCheckpoint::read(&directory),
        None => Ok(IndexCheckpoint::default()),
    });
    let (engine, checkpoint) = join(engine, checkpoint).await;
    let (engine, checkpoint) = (engine?, checkpoint?);
    platform.blocking(move || StateMachine::open_with(engine, checkpoint, options)).await
}

/// Whether log and engine belong together. `true` when this member decided alone what it has applied.
fn check_log<E: vetch_storage::Engine>(
    data_dir: &Path,
    log: &LogStore,
    machine: &StateMachine<E>,
    manifest: &Manifest,
) -> Result<bool, OpenError> {
    let (first, end) = log.bounds();
    let (first, last, applied) = (log_index(first), LogIndex(end), machine.applied().index);
    let data_dir = || data_dir.display().to_string();
    if applied.next() < first {
        return Err(OpenError::Gap { data_dir: data_dir(), applied, first });
    }
    // With one voter nothing is applied before it is in this very log. With more, what a quorum has
    // on disk may be applied here before this member's own write ends; a crash then cuts the log short
    // of the engine, and openraft lets it begin anew behind that.
    let alone = apply::is_sole_voter(machine, manifest.identity.member)?;
    // A state from a peer is in use before the log is purged to it; a log that had nothing still has
    // nothing then.
    let is_installed = manifest.state.installed == applied && applied > LogIndex(0);
    let is_empty = manifest.initialized && last == LogIndex(0) && !is_installed;
    if (alone && last < applied) || is_empty {
        return Err(OpenError::LogLost { data_dir: data_dir(), applied, last });
    }
    Ok(alone)
}

/// Drops entries that contradict what is applied: the crash described in [`check_log`] may have left
/// an older leader's entries where newer ones, already applied, had not replaced them yet.
fn drop_contradicted(log: &LogStore, applied: vetch_storage::LogId) -> Result<(), Fatal> {
    let Some(applied) = raft_log_id(applied) else { return Ok(()) };
    let Some(entry) = log.read_one(applied.index)? else { return Ok(()) };
    if entry.log_id == applied {
        return Ok(());
    }
    let before = match applied.index.checked_sub(1) {
        Some(before) => log.read_one(before)?.map(|entry| entry.log_id).or_else(|| log.purged()),
        None => None,
    };
    Ok(log.truncate(before)?)
}

/// Where a crash cut the log short of the engine, as [`check_log`] says, the log begins anew behind it.
/// What the engine has is made durable first: from then on nothing else has it here.
async fn begin_log_behind_engine<P: Platform>(
    platform: &P,
    log: &LogStore,
    machine: &StateMachine<P::Engine>,
) -> Result<(), Fatal> {
    let Some(applied) = raft_log_id(machine.applied()) else { return Ok(()) };
    if log.bounds().1 > applied.index {
        return Ok(());
    }
    let mut checkpointer = machine.checkpointer();
    platform.blocking(move || checkpointer.checkpoint()).await?;
    Ok(log.purge_upto(applied)?)
}

/// Writes the first entries, unless a crash came between them and the manifest's note of it.
async fn begin_log(log: &LogStore, first: Vec<Entry>) -> Result<(), Fatal> {
    if log.bounds().1 > 0 {
        return Ok(());
    }
    append_durably(log, first).await
}

/// Appends to a log that nothing else uses yet.
pub(super) async fn append_durably(log: &LogStore, entries: Vec<Entry>) -> Result<(), Fatal> {
    let (written, durable) = oneshot::channel();
    log.append_entries(entries, move |result| drop(written.send(result)))?;
    durable.await.unwrap_or(Err(DiskError::Closed.into()))?;
    Ok(())
}

/// The entries every history begins with: who votes, with one member's record each. Of term 0, like
/// openraft's own initialization, whose payload could not carry the records.
///
/// Every voter writes them by itself, so they hold only what all were told alike: client URLs are
/// published later. A lone voter has nobody to differ from.
fn first_entries(own: &Member, peers: &[Member]) -> Result<Vec<Entry>, OpenError> {
    let voters: BTreeMap<u64, &Member> =
        peers.iter().chain([own]).map(|member| (member.id, member)).collect();
    if voters.len() != peers.len() + 1 || voters.contains_key(&0) {
        return Err(OpenError::Settings("initial members need ids of their own".to_owned()));
    }
    let membership = Membership::new_with_defaults(vec![voters.keys().copied().collect()], []);
    let entry = |(index, member): (u64, &Member)| {
        let mut member = member.clone();
        if !peers.is_empty() {
            member.client_ur_ls.clear();
        }
        let record = MemberRecord { member: Some(member), ..MemberRecord::default() };
        let record = record.encode_to_vec();
        let membership = membership.clone();
        Entry {
            log_id: RaftLogId::new(CommittedLeaderId::new(0), index),
            payload: Payload::Membership { membership, record: Some(record.into()) },
        }
    };
    Ok((0..).zip(voters.into_values()).map(entry).collect())
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
    let Parts { settings, data_dir, manifest, machine, log, disk, home, observer, lock, known } =
        parts;
    let (identity, has_begun) = (manifest.identity, manifest.initialized);
    let raft_config =
        config::raft_config(&settings).map_err(|error| OpenError::Settings(error.to_string()))?;
    let (progress, marks) = (Arc::<Progress>::default(), Arc::<SnapshotMarks>::default());
    let awaited = Arc::new(Awaited::new(platform.random()));
    let stop = Arc::new(Stop::new());
    let (gone, applier_gone) = oneshot::channel();
    let (views, mut checkpointer) = (machine.views(), machine.checkpointer());
    let ahead = LogIndex(log.bounds().1) < machine.applied().index;
    let engines =
        Engines::new(platform.clone(), data_dir, Arc::clone(&home), manifest, Arc::clone(&stop));
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
        gone,
    )?;
    if ahead {
        // openraft lets the log begin anew behind the engine, and nothing brings back what lies
        // between: what the engine shows after a kill must be on disk first.
        let work = move || (checkpointer.checkpoint(), checkpointer);
        let (done, back) = platform.blocking(work).await;
        done?;
        checkpointer = back;
        marks.set_durable(marks.applied());
    }
    let roster = Roster::load(home, identity, Arc::clone(&stop))?;
    let addresses = addresses(&log, known, views.clone())?;
    let peers = Peers::new(platform.clone(), roster, addresses, timing(&settings));
    let peers = Arc::new(peers);
    let network = Network(Arc::clone(&peers));
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
        published: Latest::new(false),
        stop,
        running: Mutex::new(None),
    });
    inner.raft.run();
    let (stop_checkpoints, stopped) = oneshot::channel();
    let checkpoints = Checkpoints::new(Arc::clone(&inner), checkpointer);
    *inner.running.lock() = Some(Running {
        supervisor: P::Runtime::spawn(supervise(Arc::clone(&inner))),
        checkpoints: P::Runtime::spawn(checkpoints.run(stopped)),
        membership: P::Runtime::spawn(tend(Arc::clone(&inner), has_begun)),
        stop_checkpoints,
        applier_gone,
        serving: None,
        disk,
        lock,
    });
    Ok(Replica { inner })
}

/// How long to wait for peers. A stalled stream costs a catch-up, so it has longer than a heartbeat.
fn timing(settings: &Settings) -> Timing {
    Timing { longest_pause: settings.heartbeat_interval, stall: settings.election_timeout }
}

/// Whether this member is the only voter.
async fn is_alone<P: Platform>(replica: &Replica<P>) -> bool {
    let node = replica.inner.identity.member.0;
    let alone = replica.inner.raft.with_raft_state(move |state| {
        state.membership_state.effective().membership().voter_ids().eq([node])
    });
    alone.await.unwrap_or(true)
}

/// A lone voter has nobody to wait for: it campaigns at once instead of after an election timeout,
/// and serves when it has applied its log.
async fn lead<P: Platform>(replica: &Replica<P>) -> Result<(), OpenError> {
    let inner = &replica.inner;
    drop(inner.raft.trigger().elect(false).await);
    match P::Runtime::select2(inner.stop.reason(), inner.leadership.until_leading()).await {
        Select2::First(reason) => {
            replica.shutdown().await;
            Err(match reason {
                StopReason::Failed(fatal) => fatal.into(),
                StopReason::Removed => OpenError::Removed,
            })
        }
        Select2::Second(()) => Ok(()),
    }
}

/// Publishes until the group has taken it.
async fn keep_publishing<P: Platform>(replica: Replica<P>, member: Member) {
    while !replica.inner.stop.has_begun() {
        // What this member knows may be old: a view that a leader confirmed says what to publish.
        if replica.linearizable_view().await.is_ok() && publish(&replica, &member).await {
            return;
        }
    }
}

/// Tells the group what this member's flags say now, when it knows otherwise.
async fn publish<P: Platform>(replica: &Replica<P>, member: &Member) -> bool {
    let id = replica.inner.identity.member;
    let Some(known) = replica.view().members().get(id).cloned() else { return false };
    if known.name != member.name || known.client_ur_ls != member.client_ur_ls {
        let (name, client_ur_ls) = (member.name.clone(), member.client_ur_ls.clone());
        // Where peers reach it is not its own to say: it may be moved at this very moment.
        let record = Member { name, client_ur_ls, peer_ur_ls: Vec::new(), ..known };
        let command = Command::MemberPublish(MemberPublish { member: Some(record) });
        let proposal = Proposal { command: Some(command), ..Proposal::default() };
        if let Err(error) = replica.propose(proposal).await {
            tracing::warn!(%error, "could not publish this member's name and client URLs");
            return false;
        }
    }
    replica.inner.published.set(true);
    true
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
        if matches!(reason, StopReason::Removed) {
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
