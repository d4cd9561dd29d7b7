//! A Raft snapshot: what openraft hands around is a position, and the state behind it.
//!
//! The engine's own files are the snapshot. What openraft has to know of it is where it ends, so that
//! the log before it may go; bytes exist only while a peer is being fed.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use vetch_storage::{Engine, LogId, ReadView, StateMachine};

use crate::types::{CommittedLeaderId, RaftLogId, StoredMembership, raft_log_id};

/// openraft's description of a snapshot.
pub(crate) type Meta = openraft::storage::SnapshotMeta<CommittedLeaderId, u64, ()>;
/// A snapshot as openraft hands it around.
pub(crate) type Snapshot<E> =
    openraft::storage::Snapshot<CommittedLeaderId, u64, (), SnapshotState<E>>;

/// The state of a snapshot.
pub(crate) enum SnapshotState<E: Engine> {
    /// "Everything up to here is in the engine's files": the licence to purge the log.
    Durable,
    /// To be sent: as it was when it was asked for. Pins what can be read of it.
    Pinned(ReadView<E>),
    /// From a peer: complete, compared and durable, not yet in use.
    Received(Received<E>),
}

/// A state from a peer, in an engine of its own.
pub(crate) struct Received<E: Engine> {
    pub(crate) generation: u64,
    /// Taken by who puts it in use. Whoever received it holds on to it too, and closes it where waiting
    /// is allowed if it was not wanted.
    pub(crate) machine: Arc<Mutex<Option<StateMachine<E>>>>,
}

impl<E: Engine> fmt::Debug for SnapshotState<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Durable => "Durable",
            Self::Pinned(_) => "Pinned",
            Self::Received(_) => "Received",
        })
    }
}

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

    /// What a checkpoint has made durable. A state that was installed meanwhile is newer, and was
    /// durable before.
    pub(crate) fn set_durable(&self, mark: Mark) {
        let durable = &mut self.inner.lock().durable;
        if durable.as_ref().is_none_or(|before| before.id.index <= mark.id.index) {
            *durable = Some(mark);
        }
    }

    /// Where the durable state ends.
    pub(crate) fn durable<E: Engine>(&self) -> Option<Snapshot<E>> {
        let Mark { id, membership } = self.inner.lock().durable.clone()?;
        Some(Snapshot { meta: meta(id, membership), snapshot: SnapshotState::Durable })
    }
}

/// The description of the state at `id`.
pub(crate) fn meta(id: LogId, membership: StoredMembership) -> Meta {
    let last_log_id: Option<RaftLogId> = raft_log_id(id);
    Meta { last_log_id, last_membership: membership }
}
