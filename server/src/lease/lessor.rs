//! Who expires when: the leader's clock of leases, without a clock.
//!
//! Every method that depends on time takes `now`, monotonic since the node started. Wall time never
//! enters, so a clock that is set forward or back expires nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use vetch_storage::{LeaseChange, LeaseId, Planted, Term};

use super::spread::spread;

/// A lease as the replicated table has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseFacts {
    /// The lease.
    pub id: LeaseId,
    /// Seconds it was granted for.
    pub ttl: i64,
    /// Seconds left at the last checkpoint; 0 when there is none.
    pub remaining_ttl: i64,
}

/// What a renewal met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It runs for another `ttl` seconds from now.
    Renewed {
        /// Seconds it was granted for.
        ttl: i64,
    },
    /// A checkpoint is recorded, or may be; it has to be cleared through the log first, or the next
    /// leader would count from it and expire the lease early.
    ClearFirst,
    /// A checkpoint is on its way to the log; renew again when it has got there.
    CheckpointInFlight,
    /// Its time is over and it waits for its revoke.
    Due,
    /// There is no such lease.
    Unknown,
}

/// How a proposed checkpoint ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointOutcome {
    /// It was applied; [`Lessor::apply`] has seen it.
    Applied,
    /// It may be applied later.
    Unknown,
    /// It never entered the log.
    NotLogged,
}

/// How long to wait with a checkpoint that did not get into the log.
const CHECKPOINT_RETRY: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
struct Timer {
    ttl: i64,
    deadline: Duration,
    /// Its place in `Lessor::queue`; `None` while its revoke is proposed.
    queued_at: Option<Duration>,
    /// Its place in `Lessor::checkpoints`.
    checkpoint_at: Option<Duration>,
    /// A checkpoint is proposed and not settled.
    checkpoint_in_flight: bool,
    /// A checkpoint is in the log, or may be, from which a next leader would count.
    checkpoint_recorded: bool,
    /// Handed out as due once. It never comes back: its revoke may be in the log.
    doomed: bool,
}

/// Deadlines of all leases while this member leads; made on gaining leadership, dropped on losing it.
///
/// **Invariants:** a lease's deadline is never earlier than the newest of its grant, its renewals and
/// the leader's promotion, plus the time it then had; a lease once due is never renewed. Every
/// operation but [`list`](Self::list) and [`promote`](Self::promote) is O(log n).
#[derive(Clone, Debug)]
pub struct Lessor {
    term: Term,
    checkpoint_interval: Option<Duration>,
    timers: BTreeMap<LeaseId, Timer>,
    /// When to hand out whom, soonest first.
    queue: BTreeSet<(Duration, LeaseId)>,
    /// When to record whose remaining time, soonest first.
    checkpoints: BTreeSet<(Duration, LeaseId)>,
}

impl Lessor {
    /// A new leader's clock. It cannot know how long its predecessor's leases had run: each gets its
    /// full TTL, or what was left at its last checkpoint, and `extension` for the time without a
    /// leader. Leases beyond a thousand are spread so that they do not all end together.
    pub fn promote(
        term: Term,
        now: Duration,
        leases: impl IntoIterator<Item = LeaseFacts>,
        extension: Duration,
        checkpoint_interval: Option<Duration>,
    ) -> Self {
        let mut order: Vec<(Duration, LeaseFacts)> = leases
            .into_iter()
            .map(|facts| (now + seconds(time_left(&facts)) + extension, facts))
            .collect();
        order.sort_unstable_by_key(|(deadline, facts)| (*deadline, facts.id));
        let deadlines = spread(order.iter().map(|(deadline, _)| *deadline).collect());
        let mut lessor = Self {
            term,
            checkpoint_interval,
            timers: BTreeMap::new(),
            queue: BTreeSet::new(),
            checkpoints: BTreeSet::new(),
        };
        for ((_, facts), deadline) in order.into_iter().zip(deadlines) {
            lessor.start(facts.id, facts.ttl, deadline, facts.remaining_ttl > 0);
            lessor.schedule_checkpoint(facts.id, now);
        }
        lessor
    }

    /// The term this clock runs in.
    pub fn term(&self) -> Term {
        self.term
    }

    /// How many leases there are.
    pub fn len(&self) -> usize {
        self.timers.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }

    /// Follows a change that was applied at `now` or before.
    pub fn apply(&mut self, change: LeaseChange, now: Duration) {
        match change {
            LeaseChange::Granted { id, ttl } => {
                self.forget(id);
                self.start(id, ttl, now + seconds(ttl), false);
                self.schedule_checkpoint(id, now);
            }
            LeaseChange::Revoked { id } => self.forget(id),
            LeaseChange::Checkpointed { id, remaining_ttl } => {
                if let Some(timer) = self.timers.get_mut(&id) {
                    timer.checkpoint_recorded = remaining_ttl > 0;
                }
            }
        }
    }

    /// Renews a lease, if nothing stands in the way.
    pub fn renew(&mut self, id: LeaseId, now: Duration) -> Renewal {
        let Some(timer) = self.timers.get_mut(&id) else { return Renewal::Unknown };
        if timer.doomed || timer.deadline <= now {
            return Renewal::Due;
        }
        if timer.checkpoint_in_flight {
            return Renewal::CheckpointInFlight;
        }
        if timer.checkpoint_recorded {
            return Renewal::ClearFirst;
        }
        // A promotion may have given it more than its TTL; a renewal takes nothing away.
        let deadline = timer.deadline.max(now + seconds(timer.ttl));
        let queued_at = timer.queued_at.replace(deadline);
        timer.deadline = deadline;
        let ttl = timer.ttl;
        if let Some(queued_at) = queued_at {
            self.queue.remove(&(queued_at, id));
        }
        self.queue.insert((deadline, id));
        self.schedule_checkpoint(id, now);
        Renewal::Renewed { ttl }
    }

    /// Time left; zero for a lease that is due, `None` for one that does not exist.
    pub fn remaining(&self, id: LeaseId, now: Duration) -> Option<Duration> {
        self.timers.get(&id).map(|timer| timer.deadline.saturating_sub(now))
    }

    /// At most `limit` leases whose time is over, soonest first. Each is handed out once; see
    /// [`retry`](Self::retry).
    pub fn due(&mut self, now: Duration, limit: usize) -> Vec<LeaseId> {
        let mut due = Vec::new();
        while due.len() < limit {
            let Some(&(at, id)) = self.queue.first() else { break };
            if at > now {
                break;
            }
            self.queue.pop_first();
            self.unschedule_checkpoint(id);
            if let Some(timer) = self.timers.get_mut(&id) {
                timer.queued_at = None;
                timer.doomed = true;
                due.push(id);
            }
        }
        due
    }

    /// Hands these out again at `at`: their revoke certainly did not enter the log.
    pub fn retry(&mut self, ids: &[LeaseId], at: Duration) {
        for &id in ids {
            let Some(timer) = self.timers.get_mut(&id) else { continue };
            if timer.doomed && timer.queued_at.is_none() {
                timer.queued_at = Some(at);
                self.queue.insert((at, id));
            }
        }
    }

    /// At most `limit` leases whose remaining time is to be recorded now, each with its whole seconds
    /// left, rounded up so that a successor never expires one early.
    pub fn due_checkpoints(&mut self, now: Duration, limit: usize) -> Vec<(LeaseId, i64)> {
        let mut due = Vec::new();
        while due.len() < limit {
            let Some(&(at, id)) = self.checkpoints.first() else { break };
            if at > now {
                break;
            }
            self.checkpoints.pop_first();
            let Some(timer) = self.timers.get_mut(&id) else { continue };
            timer.checkpoint_at = None;
            let left = timer.deadline.saturating_sub(now);
            if timer.doomed || left.is_zero() {
                continue;
            }
            timer.checkpoint_in_flight = true;
            // More than the TTL is left only after a promotion; the record does not outlive the grant.
            due.push((id, whole_seconds_up(left).min(timer.ttl)));
        }
        due
    }

    /// Follows the end of checkpoints that [`due_checkpoints`](Self::due_checkpoints) handed out.
    pub fn settle_checkpoints(
        &mut self,
        ids: impl IntoIterator<Item = LeaseId>,
        now: Duration,
        outcome: CheckpointOutcome,
    ) {
        for id in ids {
            let Some(timer) = self.timers.get_mut(&id) else { continue };
            timer.checkpoint_in_flight = false;
            match outcome {
                CheckpointOutcome::Applied => self.schedule_checkpoint(id, now),
                CheckpointOutcome::Unknown => {
                    timer.checkpoint_recorded = true;
                    self.schedule_checkpoint(id, now);
                }
                CheckpointOutcome::NotLogged => {
                    self.schedule_checkpoint_at(id, now + CHECKPOINT_RETRY);
                }
            }
        }
    }

    /// When something is due next: a lease or a checkpoint.
    pub fn next_deadline(&self) -> Option<Duration> {
        let lease = self.queue.first().map(|(at, _)| *at);
        let checkpoint = self.checkpoints.first().map(|(at, _)| *at);
        lease.into_iter().chain(checkpoint).min()
    }

    /// All leases, soonest expiry first.
    pub fn list(&self) -> Vec<LeaseId> {
        let mut order: Vec<(Duration, LeaseId)> =
            self.timers.iter().map(|(id, timer)| (timer.deadline, *id)).collect();
        order.sort_unstable();
        order.into_iter().map(|(_, id)| id).collect()
    }
}

impl Lessor {
    fn start(&mut self, id: LeaseId, ttl: i64, deadline: Duration, checkpoint_recorded: bool) {
        self.queue.insert((deadline, id));
        let timer = Timer {
            ttl,
            deadline,
            queued_at: Some(deadline),
            checkpoint_at: None,
            checkpoint_in_flight: false,
            checkpoint_recorded,
            doomed: false,
        };
        let before = self.timers.insert(id, timer);
        debug_assert!(before.is_none(), "lease {id} was forgotten before it started again");
    }

    fn forget(&mut self, id: LeaseId) {
        self.unschedule_checkpoint(id);
        let Some(timer) = self.timers.remove(&id) else { return };
        if let Some(at) = timer.queued_at {
            self.queue.remove(&(at, id));
        }
    }

    /// The next checkpoint of a lease that lives long enough to need one.
    fn schedule_checkpoint(&mut self, id: LeaseId, now: Duration) {
        if let Some(interval) = self.checkpoint_interval {
            self.schedule_checkpoint_at(id, now + interval);
        }
    }

    fn schedule_checkpoint_at(&mut self, id: LeaseId, at: Duration) {
        self.unschedule_checkpoint(id);
        let Some(timer) = self.timers.get_mut(&id) else { return };
        let long = self.checkpoint_interval.is_some_and(|least| seconds(timer.ttl) > least);
        if long && !timer.doomed && at < timer.deadline {
            timer.checkpoint_at = Some(at);
            self.checkpoints.insert((at, id));
        }
    }

    fn unschedule_checkpoint(&mut self, id: LeaseId) {
        let at = self.timers.get_mut(&id).and_then(|timer| timer.checkpoint_at.take());
        if let Some(at) = at {
            self.checkpoints.remove(&(at, id));
        }
    }
}

/// What a new leader has to give a lease, before it adds the time without a leader.
fn time_left(facts: &LeaseFacts) -> i64 {
    let is_known = facts.remaining_ttl > 0 && !Planted::TtlStartsAnew.is_on();
    if is_known { facts.remaining_ttl } else { facts.ttl }
}

/// A stored TTL as time. Grants are positive; what an import brings may not be, and is due at once.
fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or(0))
}

fn whole_seconds_up(left: Duration) -> i64 {
    let up = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    i64::try_from(up).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
