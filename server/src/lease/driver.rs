//! The task that proposes what is due: revokes and checkpoints.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use openraft_rt::{Select2, Select4};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use vetch_proto::etcdserverpb::{LeaseCheckpoint, LeaseCheckpointRequest};
use vetch_proto::vetchpb::LeaseExpire;
use vetch_proto::vetchpb::proposal::Command;
use vetch_raft::{AsyncRuntime, LeaderChange, ProposeError};
use vetch_storage::lease::LeaseTable;
use vetch_storage::{Applied, ApplyError, LeaseId, Planted, Response, Term};

use super::clock::LeaseClock;
use super::group::Group;
use super::lessor::CheckpointOutcome;
use super::role::Woken;

/// Entries of leases under way at once: enough that the log is never idle, few enough that clients'
/// proposals find a place between them.
const MAX_IN_FLIGHT: usize = 4;
/// Leases in one entry.
const MAX_LEASES: usize = 1000;
/// Keys that go with the leases of one entry, unless a single lease has more: what one turn of the
/// applying task deletes.
const MAX_KEYS: usize = 1000;
/// Rest before a revoke that did not get into the log is tried again.
const RETRY: Duration = Duration::from_millis(100);
/// Longest sleep. Deadlines may lie centuries ahead, where a runtime's clock ends.
const MAX_SLEEP: Duration = Duration::from_hours(1);

type Answer = Result<Arc<Applied>, ProposeError>;
type InFlight = Pin<Box<dyn Future<Output = (Batch, Answer)> + Send>>;

/// What one entry is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Batch {
    Expire(Vec<LeaseId>),
    Checkpoint(Vec<LeaseId>),
}

struct Driver<G: Group> {
    clock: Arc<LeaseClock<G>>,
    in_flight: FuturesUnordered<InFlight>,
}

/// Follows leadership and proposes what is due until `stop`, or until the replica is gone.
pub(super) async fn run<G: Group>(
    clock: Arc<LeaseClock<G>>,
    mut woken: mpsc::Receiver<()>,
    stop: CancellationToken,
) {
    let Some(group) = clock.group() else { unreachable!("a driver starts with a group") };
    let mut news = group.news();
    let mut driver = Driver { clock: Arc::clone(&clock), in_flight: FuturesUnordered::new() };
    loop {
        driver.propose_due(group);
        let wake_at = clock.instant(driver.plan_sleep());
        let timer = <G::Runtime as AsyncRuntime>::sleep_until(wake_at);
        let look_again = <G::Runtime as AsyncRuntime>::select2(woken.recv(), timer);
        let event = <G::Runtime as AsyncRuntime>::select4(
            stop.cancelled(),
            G::next_news(&mut news),
            next_answer(&mut driver.in_flight),
            look_again,
        );
        match event.await {
            Select4::First(()) | Select4::Second(None) => break,
            Select4::Second(Some(change)) => driver.follow(group, change),
            Select4::Third((batch, answer)) => driver.settle(batch, answer),
            Select4::Fourth(Select2::First(_) | Select2::Second(())) => {}
        }
    }
    clock.end();
}

async fn next_answer(in_flight: &mut FuturesUnordered<InFlight>) -> (Batch, Answer) {
    match in_flight.next().await {
        Some(answer) => answer,
        None => pending().await,
    }
}

impl<G: Group> Driver<G> {
    fn follow(&mut self, group: &G, change: LeaderChange) {
        // Answers to what an earlier leadership proposed concern nobody any more: whether it was
        // applied or not, the next promotion starts from the table.
        if !Planted::RevokeWithoutTermFence.is_on() {
            self.in_flight = FuturesUnordered::new();
        }
        match change {
            LeaderChange::Gained(term) => self.clock.promote(group, term),
            LeaderChange::Lost => self.clock.demote(),
        }
    }

    fn propose_due(&mut self, group: &G) {
        while self.in_flight.len() < MAX_IN_FLIGHT {
            let Some((batch, command, term)) = self.take_due(group) else { return };
            let clock = Arc::clone(&self.clock);
            self.in_flight.push(Box::pin(async move {
                let Some(group) = clock.group() else { unreachable!("it had one before") };
                let answer = group.propose_in_term(command, term).await;
                (batch, answer)
            }));
        }
    }

    /// The next entry to propose; expiries first.
    fn take_due(&self, group: &G) -> Option<(Batch, Command, Term)> {
        let mut state = self.clock.state().lock();
        let now = self.clock.now();
        let lessor = state.lessor()?;
        let term = lessor.term();
        let due = lessor.due(now, MAX_LEASES);
        if due.is_empty() {
            let due = lessor.due_checkpoints(now, MAX_LEASES);
            return (!due.is_empty()).then(|| checkpoint(&due, term));
        }
        let (ids, rest) = cut_at_keys(due, &group.leases().1);
        lessor.retry(&rest, now);
        Some(expire(ids, term))
    }

    /// When to look again without being told.
    fn plan_sleep(&self) -> Duration {
        let mut state = self.clock.state().lock();
        let now = self.clock.now();
        let next = state.lessor().and_then(|lessor| lessor.next_deadline());
        // At the limit it is an answer that brings the driver back, not the time.
        let full = self.in_flight.len() >= MAX_IN_FLIGHT;
        let wake_at = if full { None } else { next }.unwrap_or(Duration::MAX).min(now + MAX_SLEEP);
        state.driver_wakes_at = wake_at;
        wake_at
    }

    fn settle(&self, batch: Batch, answer: Answer) {
        match batch {
            Batch::Expire(ids) => self.settle_expiry(&ids, answer),
            Batch::Checkpoint(ids) => self.settle_checkpoint(&ids, &answer),
        }
    }

    fn settle_expiry(&self, ids: &[LeaseId], answer: Answer) {
        match answer.map(|applied| applied.response.clone()) {
            Ok(Ok(Response::LeaseExpire { expired })) => {
                self.clock.metrics().inspect(|metrics| metrics.expired.add(expired as u64));
            }
            Ok(Ok(other)) => unreachable!("an expiry was answered with {other:?}"),
            // Another term has begun; its news is on the way and starts from the table. Or the node
            // stops.
            Ok(Err(ApplyError::StaleTerm)) | Err(ProposeError::Stopped) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, leases = ids.len(), "leases are due but cannot be revoked");
                self.retry(ids);
            }
            Err(ProposeError::TooManyRequests | ProposeError::NoLeader) => self.retry(ids),
            // In the log and bound to be applied while this term lasts. A second entry could find a
            // lease of the same id that was granted in between, and revoke it before its time.
            Err(ProposeError::TimedOut | ProposeError::TimedOutLeaderChanged) => {
                tracing::warn!(leases = ids.len(), "revoking leases that are due takes too long");
            }
        }
    }

    fn retry(&self, ids: &[LeaseId]) {
        let at = self.clock.now() + RETRY;
        if let Some(lessor) = self.clock.state().lock().lessor() {
            lessor.retry(ids, at);
        }
    }

    fn settle_checkpoint(&self, ids: &[LeaseId], answer: &Answer) {
        let outcome = match answer {
            Ok(_) => CheckpointOutcome::Applied,
            Err(ProposeError::TooManyRequests | ProposeError::NoLeader) => {
                CheckpointOutcome::NotLogged
            }
            Err(
                ProposeError::TimedOut
                | ProposeError::TimedOutLeaderChanged
                | ProposeError::Stopped,
            ) => CheckpointOutcome::Unknown,
        };
        let now = self.clock.now();
        let mut state = self.clock.state().lock();
        if let Some(lessor) = state.lessor() {
            lessor.settle_checkpoints(ids.iter().copied(), now, outcome);
        }
        for id in ids {
            state.wake(*id, Woken::Settled);
        }
    }
}

fn expire(ids: Vec<LeaseId>, term: Term) -> (Batch, Command, Term) {
    let entry = LeaseExpire { ids: ids.iter().map(|id| id.get()).collect(), term: term.0 };
    (Batch::Expire(ids), Command::LeaseExpire(entry), term)
}

fn checkpoint(due: &[(LeaseId, i64)], term: Term) -> (Batch, Command, Term) {
    let checkpoints = due
        .iter()
        .map(|(id, remaining_ttl)| LeaseCheckpoint { id: id.get(), remaining_ttl: *remaining_ttl })
        .collect();
    let ids = due.iter().map(|(id, _)| *id).collect();
    (Batch::Checkpoint(ids), Command::LeaseCheckpoint(LeaseCheckpointRequest { checkpoints }), term)
}

/// As many of these leases as one entry takes, at least one; and the others.
fn cut_at_keys(mut ids: Vec<LeaseId>, leases: &LeaseTable) -> (Vec<LeaseId>, Vec<LeaseId>) {
    let mut keys = 0;
    let fits = ids.iter().take_while(|id| {
        keys += leases.get(**id).map_or(0, |lease| lease.keys.len());
        keys <= MAX_KEYS
    });
    let rest = ids.split_off(fits.count().max(1).min(ids.len()));
    (ids, rest)
}
