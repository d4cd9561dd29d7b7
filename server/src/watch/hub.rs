//! All watchers of a node.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use smallvec::{SmallVec, smallvec};
use tokio::sync::mpsc;
use vetch_raft::{AsyncRuntime, Platform};
use vetch_storage::{Applied, Engine, EventBatch, Fatal, Planted, ReadView, Revision};

use super::catch_up;
use super::event_log::EventLog;
use super::interest::{Interest, WatcherKey};
use super::outbox::{Item, Outbox, Selected, WatcherInfo};
use super::shared_batch::SharedBatch;

/// Bounds and intervals, from the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// `--watch-progress-notify-interval`.
    pub progress_interval: Duration,
    /// A response to a watcher that asked for fragments is split beyond this.
    pub fragment_bytes: usize,
    /// What may wait for one stream.
    pub outbox_bytes: usize,
    /// Newest events kept in memory.
    pub event_log_bytes: usize,
    /// Bytes of events that a watcher which is behind is given at once, about.
    pub piece_bytes: usize,
    /// Revisions that are looked at for it at once.
    pub piece_revisions: usize,
}

impl Settings {
    /// The usual [`piece_bytes`](Self::piece_bytes).
    pub const PIECE_BYTES: usize = 256 * 1024;
    /// The usual [`piece_revisions`](Self::piece_revisions): etcd's bound on a response's revisions too.
    pub const PIECE_REVISIONS: usize = 1000;
}

/// Figures for the metrics.
#[derive(Debug, Default)]
pub struct WatchMetrics {
    /// Open streams.
    pub streams: AtomicI64,
    /// Watchers.
    pub watchers: AtomicI64,
    /// Watchers that are catching up.
    pub slow_watchers: AtomicI64,
    /// Events handed to streams.
    pub events: AtomicU64,
    /// Events that wait in streams' outboxes.
    pub pending_events: Arc<AtomicI64>,
}

/// Where a watcher is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// In the interest; gets events from this revision on.
    Live { from: Revision },
    /// Reading history from this revision on.
    CatchUp { next: Revision },
    /// Ended by a compaction; its id stays taken until the client cancels it.
    Ended,
}

#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) info: Arc<WatcherInfo>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) position: Position,
    /// It got an event, or was created, since the last progress tick.
    pub(super) is_active: bool,
}

/// What the hub's lock guards.
///
/// **Invariants:** `tail` is the revision of `view`; a watcher is in `interest` exactly when it is
/// live; a live watcher's outbox holds, or has sent, all its events up to `tail`.
#[derive(Debug)]
pub(super) struct State<E: Engine> {
    pub(super) view: ReadView<E>,
    pub(super) tail: Revision,
    pub(super) log: EventLog,
    pub(super) interest: Interest,
    pub(super) watchers: HashMap<WatcherKey, Watcher>,
    next_key: WatcherKey,
}

/// All watchers of a node. Its methods never wait.
pub struct WatchHub<P: Platform> {
    /// `None` until the node has a state to show.
    state: Mutex<Option<State<P::Engine>>>,
    settings: Settings,
    pub(super) fatal: mpsc::UnboundedSender<Fatal>,
    /// Figures for the metrics.
    pub metrics: WatchMetrics,
}

impl<P: Platform> fmt::Debug for WatchHub<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchHub").field("metrics", &self.metrics).finish_non_exhaustive()
    }
}

impl<P: Platform> WatchHub<P> {
    /// A hub without watchers. Damage found while reading for them goes to `fatal`.
    pub fn new(settings: Settings, fatal: mpsc::UnboundedSender<Fatal>) -> Self {
        let metrics = WatchMetrics::default();
        Self { state: Mutex::new(None), settings, fatal, metrics }
    }

    /// Bounds and intervals.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Shows the hub the state the node starts from; called before any stream is served.
    pub fn begin(&self, view: &ReadView<P::Engine>) {
        self.state.lock().get_or_insert_with(|| self.fresh(view));
    }

    fn fresh(&self, view: &ReadView<P::Engine>) -> State<P::Engine> {
        State {
            view: view.clone(),
            tail: view.revision(),
            log: EventLog::new(view.revision(), self.settings.event_log_bytes),
            interest: Interest::default(),
            watchers: HashMap::new(),
            next_key: WatcherKey(0),
        }
    }

    /// Publishes what was applied, in order. Called on the applying task.
    pub fn on_applied(self: &Arc<Self>, view: &ReadView<P::Engine>, applied: &[Arc<Applied>]) {
        let mut guard = self.state.lock();
        let Some(state) = guard.as_mut() else {
            *guard = Some(self.fresh(view));
            return;
        };
        let mut fallen = Vec::new();
        let tail = state.tail;
        let batches = applied.iter().flat_map(|applied| &applied.events);
        // A member that begins while it applies is shown a view before it hears of what is in it.
        for batch in batches.filter(|batch| batch.revision > tail) {
            fallen.append(&mut self.publish(state, batch));
        }
        state.view = view.clone();
        state.tail = view.revision();
        drop(guard);
        for key in fallen {
            self.start_catch_up(key);
        }
    }

    /// The whole state was replaced: every watcher goes back to history from its next revision.
    pub fn on_installed(self: &Arc<Self>, view: &ReadView<P::Engine>) {
        let mut guard = self.state.lock();
        let Some(state) = guard.as_mut() else {
            *guard = Some(self.fresh(view));
            return;
        };
        let skips = Planted::InstallSkipsEvents.is_on();
        let next = if skips { view.revision().next() } else { state.tail.next() };
        let mut fallen = Vec::new();
        for (key, watcher) in &mut state.watchers {
            if let Position::Live { from } = watcher.position {
                watcher.position = Position::CatchUp { next: from.max(next) };
                fallen.push(*key);
            }
        }
        state.interest = Interest::default();
        state.log = EventLog::new(view.revision(), self.settings.event_log_bytes);
        state.view = view.clone();
        state.tail = view.revision();
        drop(guard);
        fallen.sort_unstable();
        for key in fallen {
            self.start_catch_up(key);
        }
    }

    /// Hands one revision to all it concerns; gives back who had no room for it.
    fn publish(&self, state: &mut State<P::Engine>, batch: &Arc<EventBatch>) -> Vec<WatcherKey> {
        let shared = Arc::new(SharedBatch::new(Arc::clone(batch)));
        state.log.push(Arc::clone(&shared));
        let mut fallen = Vec::new();
        for (key, positions) in concerned(&state.interest, &shared) {
            let Some(watcher) = state.watchers.get_mut(&key) else { continue };
            if matches!(watcher.position, Position::Live { from } if shared.revision() < from) {
                continue;
            }
            if watcher.outbox.is_full() {
                watcher.position = Position::CatchUp { next: shared.revision() };
                state.interest.remove(&watcher.info.range, key);
                fallen.push(key);
                continue;
            }
            if let Some(selected) = select(&watcher.info, &shared, positions) {
                self.send(watcher, shared.revision(), smallvec![selected]);
            }
        }
        fallen
    }

    /// Puts whole revisions into a watcher's outbox.
    pub(super) fn send(
        &self,
        watcher: &mut Watcher,
        header_revision: Revision,
        revisions: SmallVec<[Selected; 1]>,
    ) {
        watcher.is_active = true;
        let events: usize = revisions.iter().map(|selected| selected.positions.len()).sum();
        self.metrics.events.fetch_add(events as u64, Ordering::Relaxed);
        let info = Arc::clone(&watcher.info);
        watcher.outbox.push(Item::Events { watcher: info, header_revision, revisions });
    }

    /// Runs `change` under the hub's lock. The hub has a state before any stream is served.
    pub(super) fn with_state<T>(&self, change: impl FnOnce(&mut State<P::Engine>) -> T) -> T {
        change(self.state.lock().as_mut().expect("begin() comes before serving"))
    }

    /// Adds a watcher of events from `start` on; 0 means from now on. `announce` puts the answer to
    /// the request into the outbox, before any event can be.
    pub(super) fn create(
        self: &Arc<Self>,
        info: WatcherInfo,
        outbox: Arc<Outbox>,
        start: Revision,
        announce: impl FnOnce(Revision),
    ) -> WatcherKey {
        let (key, is_behind) = self.with_state(|state| {
            let key = state.next_key;
            state.next_key = WatcherKey(key.0 + 1);
            let now = state.tail.next();
            let from = if start.get() == 0 { now } else { start };
            announce(state.tail);
            let is_behind = from < now;
            let position = if is_behind {
                Position::CatchUp { next: from }
            } else {
                state.interest.add(&info.range, key);
                Position::Live { from }
            };
            let watcher = Watcher { info: Arc::new(info), outbox, position, is_active: true };
            state.watchers.insert(key, watcher);
            (key, is_behind)
        });
        self.metrics.watchers.fetch_add(1, Ordering::Relaxed);
        if is_behind {
            self.start_catch_up(key);
        }
        key
    }

    /// Removes a watcher; `announce` puts the answer to the request behind its last event.
    pub(super) fn cancel(&self, key: WatcherKey, announce: impl FnOnce(Revision)) {
        self.with_state(|state| {
            if let Some(watcher) = state.watchers.remove(&key) {
                state.interest.remove(&watcher.info.range, key);
                self.metrics.watchers.fetch_sub(1, Ordering::Relaxed);
            }
            announce(state.tail);
        });
    }

    /// The revision up to which all of a stream's watchers have been handed everything; `None` while
    /// one is behind, or waits for the future. `announce` is called under the lock, so that the
    /// answer stands behind every event up to that revision and before every later one.
    pub(super) fn progress(&self, keys: &[WatcherKey], announce: impl FnOnce(Revision)) {
        self.with_state(|state| {
            let is_synced = |key: &WatcherKey| {
                state.watchers.get(key).is_some_and(|watcher| match watcher.position {
                    Position::Live { from } => from <= state.tail.next(),
                    Position::CatchUp { .. } => false,
                    // Nothing more is promised to it.
                    Position::Ended => true,
                })
            };
            if !keys.is_empty() && keys.iter().all(is_synced) {
                announce(state.tail);
            }
        });
    }

    /// Gives `announce` the store's revision, under the lock.
    pub(super) fn with_revision(&self, announce: impl FnOnce(Revision)) {
        self.with_state(|state| announce(state.tail));
    }

    /// The progress tick of a stream: calls `announce` for every synced watcher that asked for
    /// notices and had no event since the last tick.
    pub(super) fn tick(&self, keys: &[WatcherKey], mut announce: impl FnMut(i64, Revision)) {
        self.with_state(|state| {
            for key in keys {
                let Some(watcher) = state.watchers.get_mut(key) else { continue };
                let was_active = std::mem::replace(&mut watcher.is_active, false);
                let is_synced =
                    matches!(watcher.position, Position::Live { from } if from <= state.tail.next());
                if watcher.info.progress_notify && is_synced && !was_active {
                    announce(watcher.info.watch_id, state.tail);
                }
            }
        });
    }

    fn start_catch_up(self: &Arc<Self>, key: WatcherKey) {
        self.metrics.slow_watchers.fetch_add(1, Ordering::Relaxed);
        drop(P::Runtime::spawn(catch_up::run(Arc::clone(self), key)));
    }
}

/// Whom a revision concerns, with the positions of the events that do.
fn concerned(interest: &Interest, shared: &SharedBatch) -> Vec<(WatcherKey, SmallVec<[u32; 4]>)> {
    if let [event] = shared.events() {
        // The usual revision has one event, and then nobody is concerned twice.
        let mut all = Vec::new();
        interest.concerned(event.key(), &mut |key| all.push((key, smallvec![0])));
        return all;
    }
    let mut all = BTreeMap::<WatcherKey, SmallVec<[u32; 4]>>::new();
    for (position, event) in (0..).zip(shared.events()) {
        interest.concerned(event.key(), &mut |key| all.entry(key).or_default().push(position));
    }
    all.into_iter().collect()
}

/// What a watcher's filters leave of the events at `positions`.
pub(super) fn select(
    info: &WatcherInfo,
    batch: &Arc<SharedBatch>,
    mut positions: SmallVec<[u32; 4]>,
) -> Option<Selected> {
    if info.no_put || info.no_delete {
        positions.retain(|position| {
            batch.events().get(*position as usize).is_some_and(|event| info.wants(event))
        });
    }
    (!positions.is_empty()).then(|| Selected { batch: Arc::clone(batch), positions })
}
