//! A Raft snapshot without bytes: the position up to which the engine is durable.
//!
//! The engine's own files are the snapshot. What openraft has to know is where it ends, so that the
//! log before it may go; bytes will exist only while a peer is being fed.

use parking_lot::Mutex;
use vetch_storage::LogId;

use crate::types::{CommittedLeaderId, RaftLogId, StoredMembership, raft_log_id};

/// openraft's description of a snapshot.
pub(crate) type Meta = openraft::storage::SnapshotMeta<CommittedLeaderId, u64, ()>;
/// A snapshot as openraft hands it around.
pub(crate) type Snapshot = openraft::storage::Snapshot<CommittedLeaderId, u64, (), SnapshotMark>;

/// "Everything up to here is in the engine's files."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotMark(pub(crate) LogId);

/// How far the state is visible, and how far it is durable.
///
/// **Invariant:** position and membership of a mark belong together: the membership is the newest
/// one at or before the position.
#[derive(Debug, Default)]
pub(crate) struct SnapshotMarks {
    inner: Mutex<Marks>,
}

#[derive(Debug, Default)]
struct Marks {
    applied: Mark,
    durable: Option<Mark>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Mark {
    pub(crate) id: LogId,
    membership: StoredMembership,
}

impl SnapshotMarks {
    /// The applying task's newest visible position.
    pub(crate) fn set_applied(&self, id: LogId, membership: &StoredMembership) {
        let mut marks = self.inner.lock();
        marks.applied.id = id;
        if marks.applied.membership.log_id() != membership.log_id() {
            marks.applied.membership = membership.clone();
        }
    }

    /// The newest visible position, to be marked durable once it is.
    pub(crate) fn applied(&self) -> Mark {
        self.inner.lock().applied.clone()
    }

    /// What a checkpoint has made durable.
    pub(crate) fn set_durable(&self, mark: Mark) {
        self.inner.lock().durable = Some(mark);
    }

    /// At the start: the position the log was purged to. An earlier checkpoint licensed that purge,
    /// so the engine has it on disk; what it shows beyond may still be in the page cache only.
    pub(crate) fn set_purged(&self, purged: LogId) {
        let mut marks = self.inner.lock();
        let membership = marks.applied.membership.clone();
        marks.durable = Some(Mark { id: purged, membership });
    }

    pub(crate) fn current(&self) -> Option<Snapshot> {
        let mark = self.inner.lock().durable.clone()?;
        let last_log_id: Option<RaftLogId> = raft_log_id(mark.id);
        let meta = Meta { last_log_id, last_membership: mark.membership };
        Some(Snapshot { meta, snapshot: SnapshotMark(mark.id) })
    }
}
