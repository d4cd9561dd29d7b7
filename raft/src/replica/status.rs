//! What the replica knows, asked at any time.

use std::sync::atomic::Ordering;

use openraft_rt::{AsyncRuntime, WatchReceiver};
use vetch_storage::{LogIndex, NodeId, Term};

use super::{Inner, ReadIndexError, progress};
use crate::platform::Platform;
use crate::types::log_id;

/// What the replica knows of the group right now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// This member's current term.
    pub term: Term,
    /// The leader, only while it is known to have a quorum behind it.
    pub leader: Option<NodeId>,
    /// This member leads.
    pub is_leader: bool,
    /// This member is a learner, as far as it knows.
    pub is_learner: bool,
    /// The newest entry known to be committed.
    pub committed: LogIndex,
    /// The newest applied entry.
    pub applied: LogIndex,
    /// The newest entry after which a quorum of the voters was found to have this member's state; in a
    /// group of one its own word counts. 0 before the first comparison.
    pub agreed: LogIndex,
    /// Proposals waiting for their answer.
    pub pending: usize,
    /// How often this member has handed leadership over because its log's disk stalled.
    pub slow_disk_handovers: u64,
}

impl<P: Platform> Inner<P> {
    pub(super) fn status(&self) -> Status {
        let leading = self.leadership.leading();
        let applied = self.progress.applied();
        Status {
            term: self.leadership.term(),
            leader: self.leader_with_quorum(),
            is_leader: leading.is_some(),
            is_learner: self.progress.is_learner(),
            committed: self.committed().max(applied),
            applied,
            agreed: self.comparison.agreed(),
            pending: self.admission.pending(),
            slow_disk_handovers: self.handed_over.load(Ordering::Relaxed),
        }
    }

    pub(super) fn committed(&self) -> LogIndex {
        let committed = self.metrics.borrow_watched().local_committed;
        committed.map_or(LogIndex(0), |id| log_id(&id).index)
    }

    pub(super) async fn wait_applied(&self, index: LogIndex) -> Result<(), ReadIndexError> {
        if self.progress.applied() >= index {
            return Ok(());
        }
        let waits = self.progress.wait(index);
        match P::Runtime::timeout(self.settings.request_timeout, waits).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(progress::Closed)) => Err(ReadIndexError::Stopped),
            Err(_) => Err(ReadIndexError::TimedOut),
        }
    }
}
