//! The lessor behind a lock: follows what is applied and who leads, and renews.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use openraft_rt::{Instant, Select2};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use vetch_proto::etcdserverpb::{LeaseCheckpoint, LeaseCheckpointRequest};
use vetch_proto::vetchpb::lease_question::Subject;
use vetch_proto::vetchpb::proposal::Command;
use vetch_raft::{AsyncRuntime, ProposeError, ReadIndexError};
use vetch_storage::{Applied, LeaseChange, LeaseId, LogIndex, Planted, Term};

use super::driver;
use super::group::Group;
use super::leases::LeaseSettings;
use super::lessor::{LeaseFacts, Lessor, Renewal};
use super::role::{Role, State, Woken};
use crate::metrics::LeaseMetrics;
use crate::rpc::Refusal;

/// As etcd: how long KeepAlive and TimeToLive wait for what is committed to be applied.
const APPLY_WAIT: Duration = Duration::from_secs(1);

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

/// Leadership, as the driver tells it.
impl<G: Group> LeaseClock<G> {
    /// Starts to keep deadlines.
    pub(super) fn promote(&self, group: &G, term: Term) {
        // What is applied from here on is held back; what was applied before is in the table read
        // next. So the table, which may be large, is read without the lock the applying task needs.
        self.state.lock().become_role(Role::Promoting(Vec::new()));
        let (as_of, leases) = group.leases();
        let facts = leases.iter().map(|lease| LeaseFacts {
            id: lease.id,
            ttl: lease.ttl,
            remaining_ttl: lease.remaining_ttl,
        });
        let settings = &self.settings;
        let mut lessor = Lessor::promote(
            term,
            self.now(),
            facts,
            settings.extension,
            settings.checkpoint_interval,
        );
        let mut state = self.state.lock();
        if let Role::Promoting(held) = &state.role {
            for (_, change, at) in held.iter().filter(|(index, ..)| *index > as_of) {
                lessor.apply(*change, *at);
            }
        }
        state.become_role(Role::Leader(lessor));
        drop(state);
        self.promoted.notify_waiters();
    }

    /// Forgets all deadlines.
    pub(super) fn demote(&self) {
        self.state.lock().become_role(Role::Follower);
    }

    /// Forgets all deadlines for good; whoever waits for a leader here is told so.
    pub(super) fn end(&self) {
        self.state.lock().become_role(Role::Stopped);
        self.promoted.notify_waiters();
    }

    /// Waits until deadlines are kept here.
    async fn until_promoted(&self) -> Result<(), Refusal> {
        loop {
            // Before the look, so that a promotion right after it is not missed.
            let promoted = self.promoted.notified();
            match self.state.lock().role {
                Role::Leader(_) => return Ok(()),
                Role::Stopped => return Err(Refusal::Stopped),
                Role::Follower | Role::Promoting(_) => {}
            }
            promoted.await;
        }
    }
}

/// Renewals and remaining time.
impl<G: Group> LeaseClock<G> {
    pub(super) async fn renew(&self, id: LeaseId) -> Result<Option<i64>, Refusal> {
        let group = self.group().ok_or(Refusal::NoLeader)?;
        let renewed = self.within_request_timeout(async {
            loop {
                if let Some(time) = self.renew_here(group, id).await? {
                    return Ok(time);
                }
                if let Some(time) = self.elsewhere(group, Subject::Renew(id.get())).await? {
                    return Ok(time);
                }
            }
        });
        renewed.await.map(Time::seconds)
    }

    /// What the leader says; `None` when deadlines are kept here by now.
    async fn elsewhere(&self, group: &G, subject: Subject) -> Result<Option<Time>, Refusal> {
        let (promoted, asked) = (pin!(self.until_promoted()), pin!(self.ask(group, subject)));
        match <G::Runtime as AsyncRuntime>::select2(promoted, asked).await {
            Select2::First(promoted) => promoted.map(|()| None),
            Select2::Second(answer) => answer,
        }
    }

    /// Renews a lease whose deadline this member keeps; `None` while it keeps none.
    pub(super) async fn renew_here(&self, group: &G, id: LeaseId) -> Result<Option<Time>, Refusal> {
        while let Some((renewal, term)) = self.try_renew(id) {
            match renewal {
                Renewal::Renewed { ttl } => {
                    if !Planted::RenewalUnconfirmed.is_on() {
                        group.read_index().await?;
                        still_in(group, term)?;
                    }
                    self.metrics().inspect(|metrics| metrics.renewed.inc());
                    return Ok(Some(Time::Seconds(ttl)));
                }
                Renewal::ClearFirst => self.clear_checkpoint(group, id, term).await?,
                Renewal::Due | Renewal::CheckpointInFlight => {
                    if self.next_event(id, renewal).await == Some(Woken::Revoked) {
                        return Ok(Some(Time::Gone));
                    }
                }
                Renewal::Unknown => {
                    // Its grant may be committed and not applied yet.
                    self.catch_up(group).await?;
                    still_in(group, term)?;
                    if self.is_unknown_in(id, term) {
                        return Ok(Some(Time::Gone));
                    }
                }
            }
        }
        Ok(None)
    }

    fn try_renew(&self, id: LeaseId) -> Option<(Renewal, Term)> {
        let mut state = self.state.lock();
        let lessor = state.lessor()?;
        Some((lessor.renew(id, self.now()), lessor.term()))
    }

    /// Waits for what stands in a renewal's way, unless it has gone already.
    async fn next_event(&self, id: LeaseId, seen: Renewal) -> Option<Woken> {
        let woken = {
            let mut state = self.state.lock();
            let now = self.now();
            if state.lessor().map(|lessor| lessor.renew(id, now)) != Some(seen) {
                return None;
            }
            state.wait_for(id)
        };
        woken.await.ok()
    }

    async fn clear_checkpoint(&self, group: &G, id: LeaseId, term: Term) -> Result<(), Refusal> {
        let clear = LeaseCheckpoint { id: id.get(), remaining_ttl: 0 };
        let request = LeaseCheckpointRequest { checkpoints: vec![clear] };
        match group.propose_in_term(Command::LeaseCheckpoint(request), term).await {
            Ok(_) => Ok(()),
            Err(ProposeError::NoLeader) => Err(leader_changed()),
            Err(error) => Err(error.into()),
        }
    }

    fn is_unknown_in(&self, id: LeaseId, term: Term) -> bool {
        let mut state = self.state.lock();
        let now = self.now();
        let lessor = state.lessor().filter(|lessor| lessor.term() == term);
        lessor.is_some_and(|lessor| lessor.remaining(id, now).is_none())
    }

    pub(super) async fn remaining(&self, id: LeaseId) -> Result<Option<i64>, Refusal> {
        let group = self.group().ok_or(Refusal::NoLeader)?;
        let remaining = self.within_request_timeout(async {
            loop {
                if let Some(time) = self.remaining_here(group, id).await? {
                    return Ok(time);
                }
                if let Some(time) = self.elsewhere(group, Subject::Remaining(id.get())).await? {
                    return Ok(time);
                }
            }
        });
        remaining.await.map(Time::seconds)
    }

    /// As [`renew_here`](Self::renew_here), without the renewal.
    pub(super) async fn remaining_here(
        &self,
        group: &G,
        id: LeaseId,
    ) -> Result<Option<Time>, Refusal> {
        if self.state.lock().lessor().is_none() {
            return Ok(None);
        }
        self.catch_up(group).await?;
        let mut state = self.state.lock();
        let now = self.now();
        let lessor = state.lessor().filter(|lessor| lessor.term() == group.term());
        let lessor = lessor.ok_or_else(leader_changed)?;
        let seconds = |left: Duration| i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
        let left = lessor.remaining(id, now);
        Ok(Some(left.map_or(Time::Gone, |left| Time::Seconds(seconds(left)))))
    }

    /// Confirms leadership and waits until all that was committed is applied.
    async fn catch_up(&self, group: &G) -> Result<(), Refusal> {
        let index = group.read_index().await?;
        self.until_applied(group, index).await
    }

    pub(super) async fn until_applied(&self, group: &G, index: LogIndex) -> Result<(), Refusal> {
        let applied = group.wait_applied(index);
        match <G::Runtime as AsyncRuntime>::timeout(APPLY_WAIT, applied).await {
            Ok(applied) => Ok(applied?),
            Err(_) => Err(Refusal::AppliedTooLate),
        }
    }

    async fn within_request_timeout<T: Send>(
        &self,
        work: impl Future<Output = Result<T, Refusal>> + Send,
    ) -> Result<T, Refusal> {
        let limit = self.settings.request_timeout;
        match <G::Runtime as AsyncRuntime>::timeout(limit, work).await {
            Ok(answer) => answer,
            Err(_) => Err(ProposeError::TimedOut.into()),
        }
    }
}

/// etcd says "not a primary lessor", as Unknown, which clients do not retry; this they do.
fn leader_changed() -> Refusal {
    Refusal::ReadIndex(ReadIndexError::LeaderChanged)
}

/// Leadership was confirmed in this very term. Otherwise the client tries again: the driver, which
/// has to hear of the change first, may be waiting for this task.
fn still_in<G: Group>(group: &G, term: Term) -> Result<(), Refusal> {
    if group.term() == term { Ok(()) } else { Err(leader_changed()) }
}

impl<G: Group> fmt::Debug for LeaseClock<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseClock").field("settings", &self.settings).finish_non_exhaustive()
    }
}
