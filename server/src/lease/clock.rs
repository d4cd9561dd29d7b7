//! The lessor behind a lock: follows what is applied and who leads, and renews.
//!
//! `leadership`: whether deadlines are kept here. `renewal`: what clients ask for.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use openraft_rt::Instant;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use vetch_raft::AsyncRuntime;
use vetch_storage::{Applied, LeaseChange, LeaseId};

use super::driver;
use super::group::Group;
use super::leases::LeaseSettings;
use super::role::State;
use crate::metrics::LeaseMetrics;

mod leadership;
mod renewal;

/// What is known of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Time {
    /// The TTL it was granted, or what is left of it.
    Seconds(i64),
    /// There is no such lease.
    Gone,
}

impl Time {
    fn seconds(self) -> Option<i64> {
        match self {
            Self::Seconds(seconds) => Some(seconds),
            Self::Gone => None,
        }
    }
}

type InstantOf<R> = <R as AsyncRuntime>::Instant;

/// All there is to leases above the replicated table.
///
/// **Invariant:** a renewal is answered with a TTL only if this member led, in the term of the clock
/// that renewed it, at a moment after the renewal: no other leader can have expired the lease before,
/// and every later one starts it anew.
pub(super) struct LeaseClock<G: Group> {
    settings: LeaseSettings,
    origin: InstantOf<G::Runtime>,
    group: OnceLock<G>,
    state: Mutex<State>,
    /// Told when deadlines begin to be kept, or never will; for renewals that wait for a leader.
    promoted: Notify,
    metrics: OnceLock<LeaseMetrics>,
    ids: Mutex<StdRng>,
}

impl<G: Group> LeaseClock<G> {
    pub(super) fn new(settings: LeaseSettings, seed: u64) -> Self {
        Self {
            settings,
            origin: InstantOf::<G::Runtime>::now(),
            group: OnceLock::new(),
            state: Mutex::new(State::new()),
            promoted: Notify::new(),
            metrics: OnceLock::new(),
            ids: Mutex::new(StdRng::seed_from_u64(seed)),
        }
    }

    /// Ties the clock to its group; the answer is the driver, to be spawned.
    pub(super) fn start(
        self: &Arc<Self>,
        group: G,
        metrics: LeaseMetrics,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send + use<G> {
        let first = self.group.set(group).is_ok() && self.metrics.set(metrics).is_ok();
        assert!(first, "the lease clock is started once");
        // One place: a second wake-up before the driver has looked says nothing new.
        let (wake, woken) = mpsc::channel(1);
        self.state.lock().wake_driver = Some(wake);
        driver::run(Arc::clone(self), woken, stop)
    }

    pub(super) fn settings(&self) -> &LeaseSettings {
        &self.settings
    }

    /// `None` before the start: what a restart replays was counted when it happened.
    pub(super) fn metrics(&self) -> Option<&LeaseMetrics> {
        self.metrics.get()
    }

    pub(super) fn group(&self) -> Option<&G> {
        self.group.get()
    }

    pub(super) fn state(&self) -> &Mutex<State> {
        &self.state
    }

    pub(super) fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    pub(super) fn instant(&self, at: Duration) -> InstantOf<G::Runtime> {
        self.origin + at
    }

    pub(super) fn new_id(&self) -> LeaseId {
        let taken = self.group().map(|group| group.leases().1);
        let mut ids = self.ids.lock();
        loop {
            let id = LeaseId(ids.random_range(1..=i64::MAX));
            if taken.as_ref().is_none_or(|leases| leases.get(id).is_none()) {
                return id;
            }
        }
    }

    pub(super) fn list(&self) -> Vec<LeaseId> {
        if let Some(lessor) = self.state.lock().lessor() {
            return lessor.list();
        }
        let leases = self.group().map(|group| group.leases().1).unwrap_or_default();
        leases.iter().map(|lease| lease.id).collect()
    }

    pub(super) fn on_applied(&self, applied: &[Arc<Applied>]) {
        let changes = applied.iter().flat_map(|applied| {
            applied.lease_changes.iter().map(move |change| (applied.id.index, *change))
        });
        let mut changes = changes.peekable();
        if changes.peek().is_none() {
            return;
        }
        let now = self.now();
        let mut state = self.state.lock();
        for (at, change) in changes {
            self.count(change);
            state.apply(at, change, now);
        }
        state.hurry_driver();
    }

    fn count(&self, change: LeaseChange) {
        let Some(metrics) = self.metrics() else { return };
        match change {
            LeaseChange::Granted { ttl, .. } => {
                metrics.granted.inc();
                metrics.ttl.observe(Duration::from_secs(ttl.unsigned_abs()).as_secs_f64());
            }
            LeaseChange::Revoked { .. } => metrics.revoked.inc(),
            LeaseChange::Checkpointed { .. } => {}
        }
    }
}

impl<G: Group> fmt::Debug for LeaseClock<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseClock").field("settings", &self.settings).finish_non_exhaustive()
    }
}
