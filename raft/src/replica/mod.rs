//! One member of the group: the crate's public face.
//!
//! - [`start`]: from a data directory to a member that serves.
//! - `propose`, `admission`: writes, and how many may wait. `forward`, `awaited`: by way of the leader.
//! - `service`: what this member does for its peers.
//! - `read_index`, `progress`: linearizable reads, and what is applied.
//! - `question`: what only the leader's services can answer.
//! - `leadership`: who leads. `heartbeat`: as long as a quorum answers. `transfer`: another member made leader; `slow_disk`: when its disk stalls. `checkpoint`: the engine made durable, the log let go of.
//! - [`membership`]: who is in the group. `force`: a group of one made of what is left of another.
//! - `engines`: where its states are. `receive`: a whole state from the leader.
//! - `compare`: whether all members have made the same of the log.
//! - `settings`, `status`, `error`: how it behaves, what it knows, why it has no answer. `stop`, `shutdown`: why a replica ends,
//!   and how.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use openraft::{Raft, RaftMetrics};
use openraft_rt::{AsyncRuntime, Watch, WatchReceiver};
use parking_lot::Mutex;
use vetch_proto::etcdserverpb::Member;
use vetch_proto::vetchpb::Proposal;
use vetch_proto::vetchpb::proposal::Command;
use vetch_storage::machine::Compactor;
use vetch_storage::view::HashKv;
use vetch_storage::{Applied, LogIndex, NodeId, Planted, ReadView, Revision, Term, Views};

use crate::apply::Applier;
use crate::apply::snapshot::SnapshotMarks;
use crate::log::Backlog;
use crate::manifest::Identity;
use crate::platform::latest::Latest;
use crate::platform::{InstantOf, Platform};
use crate::transport::peer::Peers;
use crate::types::{TypeConfig, log_id};

pub(crate) mod admission;
pub(crate) mod awaited;
mod checkpoint;
pub(crate) mod compare;
mod config;
pub(crate) mod engines;
mod error;
mod force;
mod forward;
mod heartbeat;
mod leadership;
pub mod membership;
pub(crate) mod progress;
mod propose;
mod question;
mod read_index;
mod receive;
mod service;
mod settings;
mod shutdown;
mod slow_disk;
pub mod start;
mod status;
pub(crate) mod stop;
mod transfer;

pub use compare::{Divergence, NoHash, remedy};
pub use error::{OpenError, ProposeError, ReadIndexError};
pub use leadership::{LeaderChange, LeaderChanges, Leaders};
pub use membership::{MemberChange, MemberChangeError, MemberRules};
pub use question::{Answers, NoAnswer};
pub use settings::{ReadMode, Settings};
pub use start::{Bootstrap, Start};
pub use status::Status;
pub use stop::StopReason;
pub use transfer::TransferError;

/// Hears what was applied, in order, on the applying task: between "the new view is visible" and
/// "the applied index has advanced". Must not block.
pub trait ApplyObserver<P: Platform>: Send + Sync + 'static {
    /// `applied` became visible together, as `view`.
    fn on_applied(&self, view: &ReadView<P::Engine>, applied: &[Arc<Applied>]);
    /// The whole state was replaced by a snapshot; `view` is the new state.
    fn on_installed(&self, view: &ReadView<P::Engine>);
    /// One command was carried out, or refused, in this time; it becomes visible with its batch.
    fn on_command(&self, _command: &Command, _applied: &Applied, _took: Duration) {}
    /// The engine took what a batch changed in this time.
    fn on_committed(&self, _took: Duration) {}
}

/// A handle on the running replica; clones share it. Usable from any thread.
///
/// Its tasks end with [`shutdown`](Self::shutdown) only, not with the last handle.
pub struct Replica<P: Platform> {
    inner: Arc<Inner<P>>,
}

pub(crate) type RaftOf<P> = Raft<TypeConfig<<P as Platform>::Runtime>, Applier<P>>;

/// openraft's view of itself, as of its last turn.
type MetricsOf<P> = <<<P as Platform>::Runtime as AsyncRuntime>::Watch as Watch>::Receiver<
    RaftMetrics<TypeConfig<<P as Platform>::Runtime>>,
>;

/// What the handles share with the replica's tasks.
pub(crate) struct Inner<P: Platform> {
    settings: Settings,
    platform: P,
    identity: Identity,
    raft: RaftOf<P>,
    metrics: MetricsOf<P>,
    views: Views<P::Engine>,
    admission: Arc<admission::Admission>,
    progress: Arc<progress::Progress>,
    marks: Arc<SnapshotMarks>,
    leadership: leadership::Leadership<InstantOf<P>>,
    rounds: read_index::Rounds,
    peers: Arc<Peers<P>>,
    engines: Arc<engines::Engines<P>>,
    inbox: receive::Inbox<P>,
    awaited: Arc<awaited::Awaited>,
    /// Held by the one change of the group that is under way here.
    changing: tokio::sync::Mutex<()>,
    answering: question::Answering,
    comparison: compare::Comparison<InstantOf<P>>,
    /// Held by the one hash of the whole history that is taken for a peer.
    hashing: tokio::sync::Mutex<()>,
    /// The group knows this member's name and client URLs.
    published: Latest<bool>,
    /// Long enough after the start to vote: what was promised before it has been kept.
    may_vote: Latest<bool>,
    backlog: Arc<Backlog>,
    /// How often this member gave leadership away for its slow disk.
    handed_over: AtomicU64,
    stop: Arc<stop::Stop>,
    /// Taken by the first shutdown.
    running: Mutex<Option<shutdown::Running<P>>>,
}

impl<P: Platform> Clone for Replica<P> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<P: Platform> fmt::Debug for Replica<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica")
            .field("identity", &self.inner.identity)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl<P: Platform> Replica<P> {
    /// Opens the data directory, bootstraps it if it is fresh, and starts the member. A lone voter leads
    /// when this returns, and has applied its whole log; others look for a leader, see
    /// [`published`](Self::published).
    ///
    /// Waits while another process holds the directory, and says so in the log.
    pub async fn open(platform: P, start: Start<P>) -> Result<Self, OpenError> {
        start::open(platform, start).await
    }

    /// Who this member is, as its data directory has it.
    pub fn identity(&self) -> Identity {
        self.inner.identity
    }

    /// Resolves when the group knows this member's name and client URLs: it has a leader, and this
    /// member has caught up with it. A lone voter is there when it is opened.
    pub async fn published(&self) {
        self.inner.published.until(|published| *published).await;
    }

    /// Gives a proposal to the group, by way of its leader, and waits for what applying it here did.
    ///
    /// Cancel-safe in the sense of a client that goes away: what entered the log is applied all the
    /// same.
    pub async fn propose(&self, proposal: Proposal) -> Result<Arc<Applied>, ProposeError> {
        self.inner.propose(proposal, None).await
    }

    /// As [`propose`](Self::propose), but only if this member still leads in `term`; else `NoLeader`
    /// at once.
    pub async fn propose_in_term(
        &self,
        proposal: Proposal,
        term: Term,
    ) -> Result<Arc<Applied>, ProposeError> {
        self.inner.propose(proposal, Some(term)).await
    }

    /// A position that contains everything acknowledged before this call; one round for all callers
    /// that wait together.
    pub async fn read_index(&self) -> Result<LogIndex, ReadIndexError> {
        self.inner.read_index().await
    }

    /// Waits until `index` is applied here, for the request timeout at most.
    pub async fn wait_applied(&self, index: LogIndex) -> Result<(), ReadIndexError> {
        self.inner.wait_applied(index).await
    }

    /// A view that contains everything acknowledged before this call: read index, then wait.
    pub async fn linearizable_view(&self) -> Result<ReadView<P::Engine>, ReadIndexError> {
        let index = self.inner.read_index().await?;
        if !Planted::ReadBeforeApplied.is_on() {
            self.inner.wait_applied(index).await?;
        }
        Ok(self.view())
    }

    /// The newest view of this member, perhaps behind the group.
    pub fn view(&self) -> ReadView<P::Engine> {
        self.inner.views.latest()
    }

    /// A handle for background deletion of compacted versions.
    pub fn compactor(&self) -> Compactor<P::Engine> {
        self.inner.views.compactor()
    }

    /// What this member knows now; cheap.
    pub fn status(&self) -> Status {
        self.inner.status()
    }

    /// The newest entry that this member's log has no more: a member that lacks it is given a whole state.
    pub fn purged(&self) -> LogIndex {
        let purged = self.inner.metrics.borrow_watched().purged;
        purged.map_or(LogIndex(0), |id| log_id(&id).index)
    }

    /// Whether this member is a learner, as far as it knows; cheaper than [`status`](Self::status).
    pub fn is_learner(&self) -> bool {
        self.inner.progress.is_learner()
    }

    /// The members whose votes count, as this member knows: a new voter is not among them before it
    /// has caught up.
    pub fn voters(&self) -> BTreeSet<NodeId> {
        let metrics = self.inner.metrics.borrow_watched();
        metrics.membership_config.membership().voter_ids().map(NodeId).collect()
    }

    /// News of leadership gained and lost.
    pub fn leader_changes(&self) -> LeaderChanges {
        self.inner.leadership.changes()
    }

    /// Each leader this member sees, its own leadership included.
    pub fn leaders(&self) -> Leaders {
        self.inner.leadership.leaders()
    }

    /// From now on, until the shutdown, `answers` answers what other members [ask](Self::ask_leader).
    pub fn answer_with(&self, answers: Arc<dyn Answers>) {
        self.inner.answering.begin(answers);
    }

    /// Asks the [`Answers`] of the leader, and of the next one when that is lost: a question may be
    /// heard more than once. While this member leads itself, or knows no leader, it waits for another
    /// one.
    pub async fn ask_leader(&self, question: Bytes, within: Duration) -> Result<Bytes, NoAnswer> {
        self.inner.ask_leader(question, within).await
    }

    /// Another member's [`HashKv`] up to `revision`, which it reads from its disk once it has applied the
    /// entry at `applied`.
    pub async fn hash_of(
        &self,
        member: NodeId,
        revision: Revision,
        applied: LogIndex,
        within: Duration,
    ) -> Result<HashKv, NoHash> {
        self.inner.hash_of(member, revision, applied, within).await
    }

    /// Makes the voter `target` lead, if it is ready; returns when it does. Only the leader can.
    pub async fn transfer_leadership(&self, target: NodeId) -> Result<(), TransferError> {
        self.inner.transfer_leadership(target).await
    }

    /// If this member leads, hands leadership to another voter that is ready. Proposals are taken all
    /// the while. For a member that is about to stop.
    pub async fn resign(&self) {
        self.inner.resign().await;
    }

    /// Changes who is in the group, by way of its leader, and returns its members then. Changes are
    /// carried out one at a time.
    ///
    /// A member that removes itself gets its answer, and must stop after it: see
    /// [`fatal`](Self::fatal).
    pub fn change_membership(
        &self,
        change: MemberChange,
        rules: MemberRules,
    ) -> BoxFuture<'static, Result<Vec<Member>, MemberChangeError>> {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move { inner.change_membership(change, rules).await })
    }

    /// Resolves when the node must stop, with the reason. Pending as long as all is well.
    pub async fn fatal(&self) -> StopReason {
        self.inner.stop.reason().await
    }

    /// Hands leadership to another voter that is ready, stops taking proposals, answers or fails what waits,
    /// flushes and closes the log. Later calls return at once. The engine closes, and the directory is free
    /// for others, when the last handle and the last view are dropped.
    pub async fn shutdown(&self) {
        shutdown::shutdown(&self.inner).await;
    }
}

#[cfg(test)]
mod tests;
