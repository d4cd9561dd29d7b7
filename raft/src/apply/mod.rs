//! openraft's state machine over [`StateMachine`]: committed entries in, answers out.
//!
//! **Order, always:** state visible, events published, applied index advanced, clients answered.
//!
//! `state_machine`: what openraft calls. `snapshot`: a whole state, to be sent or received. `group`: who decides.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use openraft::storage::ApplyResponder;
use openraft_rt::{AsyncRuntime, Instant};
use prost::Message;
use tokio::sync::oneshot;
use vetch_proto::etcdserverpb::Member;
use vetch_proto::vetchpb::{MemberRecord, Proposal};
use vetch_storage::{Applied, Engine, Entry, Fatal, LogId, NodeId, StateMachine};

use crate::platform::{InstantOf, Platform};
use crate::replica::awaited::Awaited;
use crate::replica::compare::recent::{Mark, Recent};
use crate::replica::engines::Engines;
use crate::replica::progress::Progress;
use crate::replica::stop::Stop;
use crate::replica::{ApplyObserver, StopReason};
use crate::types::membership::encode_membership;
use crate::types::{
    self, Membership, Payload, RaftLogId, StoredMembership, TypeConfig, log_id, raft_log_id,
};

mod group;
pub(crate) mod snapshot;
mod state_machine;

use group::{is_learner, votes_alone};
use snapshot::{Meta, Received, SnapshotMarks};

pub(crate) use group::{is_sole_voter, stored_membership, undecodable};

/// Entries that become visible together at most. Bounds how long one turn of the applying task keeps
/// the others of its runtime waiting, which matters in a replay after a restart.
const MAX_BATCH: usize = 512;

/// How often an engine that does not keep up is looked at.
const CONGESTION_POLL: Duration = Duration::from_millis(1);

type Config<P> = TypeConfig<<P as Platform>::Runtime>;

/// Owns the state machine and applies to it.
pub(crate) struct Applier<P: Platform> {
    machine: StateMachine<P::Engine>,
    node: u64,
    membership: StoredMembership,
    observer: Arc<dyn ApplyObserver<P>>,
    progress: Arc<Progress>,
    awaited: Arc<Awaited>,
    stop: Arc<Stop>,
    marks: Arc<SnapshotMarks>,
    engines: Arc<Engines<P>>,
    recent: Arc<Recent>,
    /// Dropped with the applier: tells the replica's shutdown that the engine is no longer written.
    _gone: oneshot::Sender<()>,
}

/// Applied, not yet visible. Not part of the applier: it lives within one call of openraft.
struct Batch<P: Platform> {
    applied: Vec<Arc<Applied>>,
    waiting: Vec<(usize, ApplyResponder<Config<P>>)>,
    /// Requests that this member gave to another leader.
    awaited: Vec<(usize, u64)>,
}

impl<P: Platform> Applier<P> {
    #[expect(clippy::too_many_arguments, reason = "what the parts of a replica share, in one call")]
    pub(crate) fn new(
        machine: StateMachine<P::Engine>,
        node: u64,
        observer: Arc<dyn ApplyObserver<P>>,
        progress: Arc<Progress>,
        awaited: Arc<Awaited>,
        stop: Arc<Stop>,
        marks: Arc<SnapshotMarks>,
        engines: Arc<Engines<P>>,
        recent: Arc<Recent>,
        gone: oneshot::Sender<()>,
    ) -> Result<Self, Fatal> {
        let membership = stored_membership(&machine)?;
        progress.advance(machine.applied());
        awaited.reached(machine.applied().term);
        progress.set_sole_voter(votes_alone(node, membership.membership()));
        progress.set_learner(is_learner(&machine, node));
        marks.set_applied(machine.applied(), &membership);
        recent.begin(mark(&machine));
        Ok(Self {
            machine,
            node,
            membership,
            observer,
            progress,
            awaited,
            stop,
            marks,
            engines,
            recent,
            _gone: gone,
        })
    }

    fn apply_entry(&mut self, entry: types::Entry, batch: &mut Batch<P>) -> Result<Applied, Fatal> {
        let id = log_id(&entry.log_id);
        match entry.payload {
            Payload::Blank => self.machine.apply(id, Entry::Blank),
            Payload::Proposal(encoded) => {
                let proposal = Proposal::decode(encoded.0).map_err(|e| undecodable(id, &e))?;
                let start = InstantOf::<P>::now();
                let applied = self.machine.apply(id, Entry::Proposal(&proposal))?;
                if let Some(command) = &proposal.command {
                    self.observer.on_command(command, &applied, start.elapsed());
                }
                if self.awaited.anybody() {
                    batch.awaited.push((batch.applied.len(), proposal.request_id));
                }
                Ok(applied)
            }
            Payload::Membership { membership, record } => {
                let record = record.map(MemberRecord::decode).transpose();
                let record = record.map_err(|e| undecodable(id, &e))?.unwrap_or_default();
                if record.request_id != 0 && self.awaited.anybody() {
                    batch.awaited.push((batch.applied.len(), record.request_id));
                }
                self.apply_membership(id, entry.log_id, membership, record)
            }
        }
    }

    fn apply_membership(
        &mut self,
        id: LogId,
        raft_id: RaftLogId,
        membership: Membership,
        record: MemberRecord,
    ) -> Result<Applied, Fatal> {
        let removed = (record.removed != 0).then_some(NodeId(record.removed));
        let encoded = encode_membership(&membership);
        // Only what the group decides is in the entry: what the member says of itself may have changed
        // since the leader looked.
        let promoted = self.machine.members().get(NodeId(record.promoted));
        let promoted = promoted.map(|known| Member { is_learner: false, ..known.clone() });
        let entry = Entry::Membership { encoded, member: record.member.or(promoted), removed };
        let applied = self.machine.apply(id, entry)?;
        self.membership = StoredMembership::new(Some(raft_id), membership);
        Ok(applied)
    }

    /// Puts a state from a peer in the place of this one.
    ///
    /// A crash finds the one or the other, whole. Between the switch and openraft's purge of the log it
    /// finds a log that ends before the state: see the start.
    async fn install(&mut self, meta: &Meta, received: Received<P::Engine>) -> Result<(), Fatal> {
        let Received { generation, machine } = received;
        let Some(machine) = machine.lock().take() else {
            unreachable!("a state is installed once")
        };
        let applied = machine.applied();
        assert_eq!(
            raft_log_id(applied),
            meta.last_log_id,
            "the state is the one it was said to be"
        );
        let before = self.engines.in_use();
        self.engines.switch(generation, applied.index).await?;
        let replaced = self.machine.replace(machine);
        drop(P::Runtime::spawn(Arc::clone(&self.engines).retire(before, replaced)));
        self.membership = meta.last_membership.clone();
        self.recent.begin(mark(&self.machine));
        self.observer.on_installed(&self.machine.view());
        self.marks.set_applied(applied, &self.membership);
        self.marks.set_durable(self.marks.applied());
        self.progress.set_sole_voter(votes_alone(self.node, self.membership.membership()));
        self.progress.set_learner(is_learner(&self.machine, self.node));
        self.progress.advance(applied);
        self.awaited.replaced(applied.term);
        self.stop_if_removed();
        tracing::info!(index = applied.index.0, generation, "put the state of a peer in use");
        Ok(())
    }

    /// Makes the batch visible and answers it.
    fn flush(&mut self, batch: &mut Batch<P>) -> Result<(), Fatal> {
        let Some(last) = batch.applied.last() else { return Ok(()) };
        let (last, begins_term) = (last.id, last.id.term != self.progress.applied_term());
        let start = InstantOf::<P>::now();
        self.machine.commit()?;
        self.observer.on_committed(start.elapsed());
        self.recent.note_end(mark(&self.machine));
        self.observer.on_applied(&self.machine.view(), &batch.applied);
        self.marks.set_applied(last, &self.membership);
        self.progress.set_sole_voter(votes_alone(self.node, self.membership.membership()));
        self.progress.set_learner(is_learner(&self.machine, self.node));
        self.progress.advance(last);
        for (at, responder) in batch.waiting.drain(..) {
            responder.send(Arc::clone(&batch.applied[at]));
        }
        for (at, request) in batch.awaited.drain(..) {
            self.awaited.applied(request, &batch.applied[at]);
        }
        if begins_term {
            self.awaited.reached(last.term);
        }
        batch.applied.clear();
        self.stop_if_removed();
        Ok(())
    }

    fn stop_if_removed(&self) {
        if self.machine.members().is_removed(NodeId(self.node)) {
            self.stop.raise(StopReason::Removed);
        }
    }
}

/// Waits until an engine keeps up. In the engine itself that would hold up the whole runtime:
/// heartbeats, the log, reads.
pub(crate) async fn room<R: AsyncRuntime>(is_congested: impl Fn() -> bool) {
    while is_congested() {
        R::sleep(CONGESTION_POLL).await;
    }
}

/// The state after the newest applied entry, in short.
fn mark<E: Engine>(machine: &StateMachine<E>) -> Mark {
    let (index, revision) = (machine.applied().index, machine.revision());
    Mark { index, revision, digest: machine.digest() }
}

impl<P: Platform> fmt::Debug for Applier<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Applier").field("applied", &self.machine.applied()).finish_non_exhaustive()
    }
}
