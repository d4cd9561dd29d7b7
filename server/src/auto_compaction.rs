//! Compaction that nobody asks for: by age or by number of revisions, as `--auto-compaction-mode` and
//! `--auto-compaction-retention` say. The leader proposes it; every member keeps the samples, so that
//! a new leader goes on where the old one was.

use std::collections::VecDeque;
use std::time::Duration;

use openraft_rt::{Instant, Select2};
use tokio_util::sync::CancellationToken;
use vetch_proto::etcdserverpb::CompactionRequest;
use vetch_proto::vetchpb::Proposal;
use vetch_proto::vetchpb::proposal::Command;
use vetch_raft::{AsyncRuntime, Platform, ProposeError, Replica};
use vetch_storage::{ApplyError, Revision};

use crate::config::AutoCompaction;

/// The longest time between two compactions by age.
const MAX_PERIOD: Duration = Duration::from_hours(1);
/// Samples of the revision in one period.
const SAMPLES_PER_PERIOD: u32 = 10;
/// Time between two compactions by number of revisions.
const REVISION_PERIOD: Duration = Duration::from_mins(5);

/// When to compact, and to which revision; without a clock: `now` is monotonic since the node started.
#[derive(Clone, Debug)]
pub struct CompactionSchedule {
    plan: Plan,
    next_tick: Duration,
    /// What the last compaction went to.
    last: Option<Revision>,
}

#[derive(Clone, Debug)]
enum Plan {
    Periodic {
        interval: Duration,
        period: Duration,
        /// The revision at every tick, oldest first; full when the oldest is as old as the retention.
        samples: VecDeque<Revision>,
        capacity: usize,
        not_before: Duration,
    },
    Revisions {
        keep: i64,
    },
}

impl CompactionSchedule {
    /// A schedule that begins at `now`; `None` when nothing is compacted by itself.
    pub fn new(mode: AutoCompaction, now: Duration) -> Option<Self> {
        let (plan, next_tick) = match mode {
            AutoCompaction::Off => return None,
            AutoCompaction::Periodic(retention) => (Plan::periodic(retention), now),
            AutoCompaction::Revisions(keep) => (Plan::Revisions { keep }, now + REVISION_PERIOD),
        };
        Some(Self { plan, next_tick, last: None })
    }

    /// When [`tick`](Self::tick) is to be called next.
    pub fn next_tick(&self) -> Duration {
        self.next_tick
    }

    /// Notes the store's revision, and says what to compact to if it is time and this member leads.
    pub fn tick(&mut self, now: Duration, current: Revision, leads: bool) -> Option<Revision> {
        // From now, not from when it should have been: after a stall no sample is older than it seems.
        self.next_tick = now + self.plan.interval();
        let target = self.plan.target(now, current)?;
        (leads && Some(target) != self.last).then_some(target)
    }

    /// The compaction to `revision` was done, or was not needed any more.
    pub fn done(&mut self, now: Duration, revision: Revision) {
        self.last = Some(revision);
        if let Plan::Periodic { period, not_before, .. } = &mut self.plan {
            *not_before = now + *period;
        }
    }
}

impl Plan {
    fn periodic(retention: Duration) -> Self {
        let period = retention.min(MAX_PERIOD);
        let interval = (period / SAMPLES_PER_PERIOD).max(Duration::from_millis(1));
        let intervals = retention.as_nanos().div_ceil(interval.as_nanos());
        let capacity = usize::try_from(intervals).unwrap_or(usize::MAX - 1) + 1;
        Self::Periodic {
            interval,
            period,
            samples: VecDeque::new(),
            capacity,
            not_before: Duration::ZERO,
        }
    }

    fn interval(&self) -> Duration {
        match self {
            Self::Periodic { interval, .. } => *interval,
            Self::Revisions { .. } => REVISION_PERIOD,
        }
    }

    fn target(&mut self, now: Duration, current: Revision) -> Option<Revision> {
        match self {
            Self::Periodic { samples, capacity, not_before, .. } => {
                samples.push_back(current);
                if samples.len() > *capacity {
                    samples.pop_front();
                }
                let due = samples.len() == *capacity && now >= *not_before;
                samples.front().copied().filter(|_| due)
            }
            Self::Revisions { keep } => {
                let target = current.0.saturating_sub(*keep);
                (target > 0).then_some(Revision(target))
            }
        }
    }
}

/// Runs the schedule until `stop`. `None` when nothing is compacted by itself.
pub fn start<P: Platform>(
    replica: Replica<P>,
    mode: AutoCompaction,
    stop: CancellationToken,
) -> Option<<P::Runtime as AsyncRuntime>::JoinHandle<()>> {
    let schedule = CompactionSchedule::new(mode, Duration::ZERO)?;
    Some(<P::Runtime as AsyncRuntime>::spawn(run(replica, schedule, stop)))
}

async fn run<P: Platform>(
    replica: Replica<P>,
    mut schedule: CompactionSchedule,
    stop: CancellationToken,
) {
    let origin = <P::Runtime as AsyncRuntime>::Instant::now();
    loop {
        let timer = <P::Runtime as AsyncRuntime>::sleep_until(origin + schedule.next_tick());
        match <P::Runtime as AsyncRuntime>::select2(stop.cancelled(), timer).await {
            Select2::First(()) => return,
            Select2::Second(()) => {}
        }
        let current = replica.view().revision();
        let leads = replica.status().is_leader;
        let Some(revision) = schedule.tick(origin.elapsed(), current, leads) else { continue };
        if compact(&replica, revision).await {
            schedule.done(origin.elapsed(), revision);
        }
    }
}

/// Whether everything below `revision` may go, now or before.
async fn compact<P: Platform>(replica: &Replica<P>, revision: Revision) -> bool {
    let request = CompactionRequest { revision: revision.0, physical: false };
    let proposal = Proposal { command: Some(Command::Compaction(request)), ..Proposal::default() };
    let term = replica.status().term;
    let answer = replica.propose_in_term(proposal, term).await;
    match answer.map(|applied| applied.response.clone()) {
        Ok(Ok(_) | Err(ApplyError::Compacted { .. })) => {
            tracing::info!(%revision, "compacted automatically");
            true
        }
        Ok(Err(error)) => {
            tracing::warn!(%revision, %error, "automatic compaction failed; it is tried again");
            false
        }
        // Not the leader any more: the next one does it. Or the node stops.
        Err(ProposeError::NoLeader | ProposeError::Stopped) => false,
        Err(
            error @ (ProposeError::TooManyRequests
            | ProposeError::TimedOut
            | ProposeError::TimedOutLeaderChanged),
        ) => {
            tracing::warn!(%revision, %error, "automatic compaction failed; it is tried again");
            false
        }
    }
}

#[cfg(test)]
mod driver_tests;

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);
    const HOUR: Duration = Duration::from_hours(1);

    /// Runs a schedule for a while with one new revision a minute; when it compacted, and to what.
    fn compactions(mode: AutoCompaction, lasting: Duration) -> Vec<(u64, i64)> {
        let mut schedule = CompactionSchedule::new(mode, Duration::ZERO).unwrap();
        let mut done = Vec::new();
        while schedule.next_tick() <= lasting {
            let now = schedule.next_tick();
            let current = Revision(1 + i64::try_from(now.as_secs() / 60).unwrap());
            if let Some(revision) = schedule.tick(now, current, true) {
                schedule.done(now, revision);
                done.push((now.as_secs() / 60, revision.0));
            }
        }
        done
    }

    #[test]
    fn off_is_no_schedule() {
        assert!(CompactionSchedule::new(AutoCompaction::Off, Duration::ZERO).is_none());
    }

    #[test]
    fn periodic_below_an_hour_compacts_every_period_to_the_revision_a_period_ago() {
        let done = compactions(AutoCompaction::Periodic(10 * MINUTE), 40 * MINUTE);
        assert_eq!(done, [(10, 1), (20, 11), (30, 21), (40, 31)]);
    }

    #[test]
    fn periodic_above_an_hour_waits_the_retention_and_then_compacts_hourly() {
        let done = compactions(AutoCompaction::Periodic(3 * HOUR), 5 * HOUR);
        assert_eq!(done, [(180, 1), (240, 61), (300, 121)]);
    }

    #[test]
    fn a_retention_between_two_samples_is_rounded_up() {
        let done = compactions(AutoCompaction::Periodic(61 * MINUTE), 3 * HOUR);
        assert_eq!(done, [(66, 1), (126, 61)]);
    }

    #[test]
    fn the_revision_is_sampled_ten_times_a_period_and_at_most_every_six_minutes() {
        let mut schedule =
            CompactionSchedule::new(AutoCompaction::Periodic(24 * HOUR), Duration::ZERO).unwrap();
        schedule.tick(Duration::ZERO, Revision(1), true);
        assert_eq!(schedule.next_tick(), 6 * MINUTE);
    }

    #[test]
    fn an_unchanged_target_is_skipped() {
        let mut schedule =
            CompactionSchedule::new(AutoCompaction::Periodic(10 * MINUTE), Duration::ZERO).unwrap();
        let mut targets = Vec::new();
        for _ in 0..40 {
            let now = schedule.next_tick();
            if let Some(revision) = schedule.tick(now, Revision(5), true) {
                schedule.done(now, revision);
                targets.push(revision.0);
            }
        }
        assert_eq!(targets, [5]);
    }

    #[test]
    fn a_failed_compaction_is_tried_at_the_next_sample() {
        let mut schedule =
            CompactionSchedule::new(AutoCompaction::Periodic(10 * MINUTE), Duration::ZERO).unwrap();
        let mut tried = Vec::new();
        for minute in 0..13 {
            let now = schedule.next_tick();
            tried.extend(schedule.tick(now, Revision(1 + minute), true).map(|r| (minute, r.0)));
        }
        assert_eq!(tried, [(10, 1), (11, 2), (12, 3)]);
    }

    #[test]
    fn a_follower_samples_and_compacts_as_soon_as_it_leads() {
        let mut schedule =
            CompactionSchedule::new(AutoCompaction::Periodic(10 * MINUTE), Duration::ZERO).unwrap();
        for minute in 0..25 {
            let now = schedule.next_tick();
            assert_eq!(schedule.tick(now, Revision(1 + minute), false), None);
        }
        assert_eq!(schedule.tick(25 * MINUTE, Revision(26), true), Some(Revision(16)));
    }

    #[test]
    fn after_a_stall_nothing_younger_than_the_retention_is_compacted() {
        let mut schedule =
            CompactionSchedule::new(AutoCompaction::Periodic(10 * MINUTE), Duration::ZERO).unwrap();
        schedule.tick(Duration::ZERO, Revision(1), true);
        let late = 30 * MINUTE;
        assert_eq!(schedule.tick(late, Revision(31), true), None);
        assert_eq!(schedule.next_tick(), late + MINUTE);
    }

    #[test]
    fn by_revisions_every_five_minutes_all_but_the_newest_go() {
        let done = compactions(AutoCompaction::Revisions(3), 16 * MINUTE);
        assert_eq!(done, [(5, 3), (10, 8), (15, 13)]);
    }

    #[test]
    fn by_revisions_nothing_goes_while_there_are_no_more_than_are_kept() {
        assert_eq!(compactions(AutoCompaction::Revisions(100), HOUR), []);
    }
}
