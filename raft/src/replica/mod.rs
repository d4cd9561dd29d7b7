//! One member of the group: the crate's public face.

use std::sync::Arc;
use std::time::Duration;

use vetch_proto::vetchpb::Proposal;
use vetch_storage::{Applied, Fatal, LogIndex, NodeId, ReadView, Term};

use crate::platform::Platform;

pub(crate) mod admission;

/// How a replica behaves; all resolved, nothing left to default here.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This member.
    pub id: NodeId,
    /// Period of heartbeats.
    pub heartbeat_interval: Duration,
    /// How long without a leader until there should be a new one.
    pub election_timeout: Duration,
    /// Longest wait of a proposal or read index: etcd's 5 s + 2 × election timeout.
    pub request_timeout: Duration,
    /// Applied entries between two checkpoints.
    pub checkpoint_entries: u64,
    /// Log entries kept behind a checkpoint for slow followers.
    pub catchup_entries: u64,
    /// Proposals that may wait at once, in number and in bytes; beyond it they are refused.
    pub max_inflight_proposals: usize,
    /// See above.
    pub max_inflight_bytes: usize,
}

/// Hears what was applied, in order, on the applying task: between "the new view is visible" and
/// "the applied index has advanced". Must not block.
pub trait ApplyObserver<P: Platform>: Send + Sync + 'static {
    /// `applied` became visible together, as `view`.
    fn on_applied(&self, view: &ReadView<P::Engine>, applied: &[Arc<Applied>]);
    /// The whole state was replaced by a snapshot; `view` is the new state.
    fn on_installed(&self, view: &ReadView<P::Engine>);
}

/// What the replica knows of the group right now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// This member's current term.
    pub term: Term,
    /// The leader, only while it is known to have a quorum behind it.
    pub leader: Option<NodeId>,
    /// This member leads.
    pub is_leader: bool,
    /// This member is a learner.
    pub is_learner: bool,
    /// The newest entry known to be committed.
    pub committed: LogIndex,
    /// The newest applied entry.
    pub applied: LogIndex,
    /// Proposals waiting for their answer.
    pub pending: usize,
}

/// Leadership gained or lost, as the lease driver needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaderChange {
    /// This member leads in this term and has applied everything before it.
    Gained(Term),
    /// This member leads no more.
    Lost,
}

/// Why a replica did not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Log or engine cannot be trusted or read.
    #[error(transparent)]
    Fatal(#[from] Fatal),
    /// The engine lacks entries that the log no longer has.
    #[error(
        "the engine in {data_dir} has applied {applied}, but its log begins at {first}: entries \
         between are lost; restore this member from a snapshot or from its peers"
    )]
    Gap {
        /// The member's directory.
        data_dir: String,
        /// What the engine has.
        applied: LogIndex,
        /// What the log has.
        first: LogIndex,
    },
}

/// Why a proposal has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProposeError {
    /// Too many or too large proposals are waiting. It never entered the log.
    #[error("too many proposals in flight")]
    TooManyRequests,
    /// No leader took it in time. It never entered the log.
    #[error("no leader")]
    NoLeader,
    /// It entered the log but was not applied in time. It **may still be applied**.
    #[error("timed out")]
    TimedOut,
    /// As `TimedOut`, and leadership changed meanwhile. It **may still be applied**.
    #[error("timed out around a leader change")]
    TimedOutLeaderChanged,
    /// The node is stopping. It **may still be applied** after the restart.
    #[error("stopped")]
    Stopped,
}

/// Why there is no read index.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadIndexError {
    /// Leadership changed while waiting.
    #[error("leader changed")]
    LeaderChanged,
    /// No quorum confirmed it in time.
    #[error("timed out")]
    TimedOut,
    /// The node is stopping.
    #[error("stopped")]
    Stopped,
}

/// A handle on the running replica; clones share it. Usable from any thread.
#[derive(Debug)]
pub struct Replica<P: Platform> {
    settings: Arc<Settings>,
    platform: P,
}

impl<P: Platform> Clone for Replica<P> {
    fn clone(&self) -> Self {
        Self { settings: Arc::clone(&self.settings), platform: self.platform.clone() }
    }
}

impl<P: Platform> Replica<P> {
    /// Gives a proposal to the group and waits for what applying it did.
    pub async fn propose(&self, proposal: Proposal) -> Result<Arc<Applied>, ProposeError> {
        let _ = proposal;
        todo!()
    }

    /// As [`propose`](Self::propose), but only if this member still leads in `term`.
    pub async fn propose_in_term(
        &self,
        proposal: Proposal,
        term: Term,
    ) -> Result<Arc<Applied>, ProposeError> {
        let _ = (proposal, term);
        todo!()
    }

    /// A position that contains everything acknowledged before this call; one round for all callers
    /// that wait together.
    pub async fn read_index(&self) -> Result<LogIndex, ReadIndexError> {
        todo!()
    }

    /// Waits until `index` is applied here.
    pub async fn wait_applied(&self, index: LogIndex) -> Result<(), ReadIndexError> {
        let _ = index;
        todo!()
    }

    /// A view that contains everything acknowledged before this call: read index, then wait.
    pub async fn linearizable_view(&self) -> Result<ReadView<P::Engine>, ReadIndexError> {
        todo!()
    }

    /// The newest view of this member, perhaps behind the group.
    pub fn view(&self) -> ReadView<P::Engine> {
        todo!()
    }

    /// What this member knows now; cheap.
    pub fn status(&self) -> Status {
        todo!()
    }

    /// The next change of leadership after the last one this receiver saw.
    pub fn leader_changes(&self) -> tokio::sync::watch::Receiver<LeaderChange> {
        todo!()
    }

    /// Resolves when the node must stop, with the reason.
    pub async fn fatal(&self) -> Fatal {
        todo!()
    }

    /// Stops taking proposals, answers or fails what waits, flushes and closes the log.
    pub async fn shutdown(&self) {
        todo!()
    }
}
