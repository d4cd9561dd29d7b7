//! What the applying task, readers, the compactor and the checkpointer have in common.

use std::any::Any;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;

use super::Options;
use super::checkpoint::CheckpointMark;
use super::state::State;
use crate::alarm::Alarms;
use crate::engine::Engine;
use crate::lease::LeaseTable;
use crate::member::Members;
use crate::mvcc::compaction::ReclaimState;
use crate::mvcc::index::Index;
use crate::types::{LogId, Revision, RevisionKey};

/// The immutable part of a view.
#[derive(Debug)]
pub(crate) struct ViewState {
    pub(crate) applied: LogId,
    pub(crate) revision: Revision,
    pub(crate) compacted: Option<Revision>,
    pub(crate) index: Index,
    pub(crate) leases: LeaseTable,
    pub(crate) alarms: Alarms,
    pub(crate) members: Members,
    pub(crate) cluster_version: Option<Arc<str>>,
    pub(crate) membership: Option<(LogId, Bytes)>,
    pub(crate) digest: u64,
    /// Sum of the footprints of all versions ever written.
    pub(crate) written: u64,
    /// See [`Keyspace::changes`](crate::mvcc::write::Keyspace).
    pub(crate) changes: u64,
    /// Keeps alive what the view may read; see [`Shared::oldest_pin`].
    pub(crate) pin: Arc<Pin>,
}

/// Shared by all views with the same compacted revision: while it lives, no version they can read is
/// deleted.
#[derive(Debug)]
pub(crate) struct Pin {
    compacted: Option<Revision>,
}

impl Pin {
    pub(crate) fn new(compacted: Option<Revision>) -> Self {
        Self { compacted }
    }

    pub(crate) fn compacted(&self) -> Option<Revision> {
        self.compacted
    }
}

/// What of the state a view shows.
pub(crate) fn publish(state: &State, pin: &Arc<Pin>) -> ViewState {
    let keyspace = &state.keyspace;
    assert_eq!(pin.compacted, keyspace.compacted, "a view pins the revision it may read down to");
    ViewState {
        applied: state.applied,
        revision: keyspace.revision,
        compacted: keyspace.compacted,
        index: keyspace.index.clone(),
        leases: keyspace.leases.clone(),
        alarms: state.alarms.clone(),
        members: state.members.clone(),
        cluster_version: state.cluster_version.clone(),
        membership: state.membership.clone(),
        digest: state.digest,
        written: keyspace.written,
        changes: keyspace.changes,
        pin: Arc::clone(pin),
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Shared<E: Engine> {
    pub(crate) engine: Arc<E>,
    pub(crate) checkpoint_dir: Option<PathBuf>,
    /// The index checkpoint on disk, if there is one that fits.
    pub(crate) checkpoint: Mutex<Option<CheckpointMark>>,
    view: ArcSwap<ViewState>,
    /// Every pin that may still be held, oldest first.
    pins: Mutex<Vec<Weak<Pin>>>,
    /// Tombstones the compactor has deleted; the applying task takes them out of the index.
    dropped: Mutex<Vec<(Bytes, RevisionKey)>>,
    /// How far background deletion is. The lock is held for a whole step: one deletes at a time.
    pub(crate) reclaim: Mutex<ReclaimState>,
    /// Copy of the figure in `reclaim`, readable while a step runs.
    reclaimed: AtomicU64,
    // Last, so that the engine is closed before.
    _outlives: Option<Arc<dyn Any + Send + Sync>>,
}

impl<E: Engine> Shared<E> {
    pub(crate) fn new(
        engine: Arc<E>,
        view: ViewState,
        reclaim: ReclaimState,
        options: Options,
        checkpoint: Option<CheckpointMark>,
    ) -> Self {
        let pins = Mutex::new(vec![Arc::downgrade(&view.pin)]);
        Self {
            engine,
            checkpoint_dir: options.checkpoint_dir,
            checkpoint: Mutex::new(checkpoint),
            view: ArcSwap::from_pointee(view),
            pins,
            dropped: Mutex::default(),
            reclaimed: AtomicU64::new(reclaim.reclaimed()),
            reclaim: Mutex::new(reclaim),
            _outlives: options.outlives,
        }
    }

    pub(crate) fn view(&self) -> Arc<ViewState> {
        self.view.load_full()
    }

    pub(crate) fn set_view(&self, view: ViewState) {
        self.view.store(Arc::new(view));
    }

    /// Must be called before a view with this pin is published.
    pub(crate) fn add_pin(&self, pin: &Arc<Pin>) {
        self.pins.lock().push(Arc::downgrade(pin));
    }

    /// The lowest compacted revision of any view still in use; `None` as long as one from before the
    /// first compaction is.
    pub(crate) fn oldest_pin(&self) -> Option<Revision> {
        let mut pins = self.pins.lock();
        pins.retain(|pin| pin.strong_count() > 0);
        pins.iter().filter_map(Weak::upgrade).map(|pin| pin.compacted).min().flatten()
    }

    pub(crate) fn drop_tombstones(&self, tombstones: Vec<(Bytes, RevisionKey)>) {
        self.dropped.lock().extend(tombstones);
    }

    pub(crate) fn take_dropped(&self) -> Vec<(Bytes, RevisionKey)> {
        std::mem::take(&mut self.dropped.lock())
    }

    pub(crate) fn set_reclaimed(&self, bytes: u64) {
        self.reclaimed.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn reclaimed(&self) -> u64 {
        self.reclaimed.load(Ordering::Relaxed)
    }
}
