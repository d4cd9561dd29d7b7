//! Everything running.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};
use std::time::Duration;

use openraft::Raft;
use openraft_rt::AsyncRuntime;
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::oneshot;
use vetch_proto::etcdserverpb::Member;
use vetch_proto::vetchpb::MemberRecord;
use vetch_storage::machine::Checkpointer;
use vetch_storage::{Fatal, NodeId, Views};

use super::parts::Parts;
use super::supervise::{raft_fatal, supervise};
use crate::apply::Applier;
use crate::apply::snapshot::SnapshotMarks;
use crate::disk::Disk;
use crate::log::LogStore;
use crate::platform::Platform;
use crate::platform::latest::Latest;
use crate::replica::admission::Admission;
use crate::replica::awaited::Awaited;
use crate::replica::checkpoint::Checkpoints;
use crate::replica::compare::recent::Recent;
use crate::replica::compare::{Comparison, compare_states};
use crate::replica::engines::Engines;
use crate::replica::heartbeat::beat;
use crate::replica::leadership::Leadership;
use crate::replica::membership::tend;
use crate::replica::progress::Progress;
use crate::replica::question::Answering;
use crate::replica::read_index::Rounds;
use crate::replica::receive::Inbox;
use crate::replica::shutdown::Running;
use crate::replica::stop::Stop;
use crate::replica::{Inner, OpenError, RaftOf, Replica, Settings, config};
use crate::transport::Addresses;
use crate::transport::network::Network;
use crate::transport::peer::{Peers, Timing};
use crate::transport::roster::Roster;
use crate::types::{Entry, Payload};

/// What the tasks of a replica are given once, and nobody else has.
struct Handed<P: Platform> {
    checkpointer: Checkpointer<P::Engine>,
    applier_gone: oneshot::Receiver<()>,
    /// The log, if nobody has begun it yet.
    beginning: Option<LogStore>,
    disk: Arc<dyn Disk>,
    /// See [`Parts::hold`].
    hold: Duration,
}

/// Starts openraft and the replica's tasks.
pub(super) async fn run<P: Platform>(
    platform: P,
    parts: Parts<P>,
) -> Result<Replica<P>, OpenError> {
    let (inner, handed) = assemble(platform, parts).await?;
    inner.raft.run();
    if !handed.hold.is_zero() {
        drop(P::Runtime::spawn(let_vote(Arc::downgrade(&inner), handed.hold)));
    }
    let running = start_tasks(&inner, handed);
    *inner.running.lock() = Some(running);
    Ok(Replica { inner })
}

/// Puts together what the tasks share. openraft is there, and waits to be let run.
async fn assemble<P: Platform>(
    platform: P,
    parts: Parts<P>,
) -> Result<(Arc<Inner<P>>, Handed<P>), OpenError> {
    let Parts { settings, home, machine, log, hold, .. } = parts;
    let (identity, has_begun) = (home.manifest.identity, home.manifest.initialized);
    let raft_config = config::raft_config(&settings, !hold.is_zero())
        .map_err(|error| OpenError::Settings(error.to_string()))?;
    let (progress, marks) = (Arc::<Progress>::default(), Arc::<SnapshotMarks>::default());
    let awaited = Arc::new(Awaited::new(platform.random()));
    let recent = Arc::<Recent>::default();
    let stop = Arc::new(Stop::new());
    let (gone, applier_gone) = oneshot::channel();
    let (views, checkpointer) = (machine.views(), machine.checkpointer());
    let roster = Roster::load(Arc::clone(&home.disk), identity, Arc::clone(&stop))?;
    let engines = Engines::new(platform.clone(), parts.data_dir, home, Arc::clone(&stop));
    let engines = Arc::new(engines);
    let applier = Applier::<P>::new(
        machine,
        identity.member.0,
        parts.observer,
        Arc::clone(&progress),
        Arc::clone(&awaited),
        Arc::clone(&stop),
        Arc::clone(&marks),
        Arc::clone(&engines),
        Arc::clone(&recent),
        gone,
    )?;
    let addresses = addresses(&log, parts.known, views.clone())?;
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
    let handed = Handed { checkpointer, applier_gone, beginning, disk: parts.disk, hold };
    Ok((inner, handed))
}

fn start_tasks<P: Platform>(inner: &Arc<Inner<P>>, handed: Handed<P>) -> Running<P> {
    let Handed { checkpointer, applier_gone, beginning, disk, hold: _ } = handed;
    let (stop_checkpoints, stopped) = oneshot::channel();
    let checkpoints = Checkpoints::new(Arc::clone(inner), checkpointer);
    Running {
        supervisor: P::Runtime::spawn(supervise(Arc::clone(inner))),
        checkpoints: P::Runtime::spawn(checkpoints.run(stopped)),
        membership: P::Runtime::spawn(tend(Arc::clone(inner), beginning)),
        comparison: P::Runtime::spawn(compare_states(Arc::clone(inner))),
        heartbeat: P::Runtime::spawn(beat(Arc::clone(inner))),
        stop_checkpoints,
        applier_gone,
        serving: None,
        disk,
    }
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

/// How long to wait for peers. A stalled stream costs a catch-up, so it has longer than a heartbeat.
fn timing(settings: &Settings) -> Timing {
    let Settings { heartbeat_interval, election_timeout, .. } = *settings;
    Timing {
        longest_pause: heartbeat_interval,
        heartbeat: heartbeat_interval,
        stall: election_timeout,
    }
}
