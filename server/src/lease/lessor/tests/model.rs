//! A random walk of the lessor beside one that is obvious.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use vetch_storage::{LeaseChange, LeaseId, Term};

use super::EXTENSION;
use crate::lease::lessor::{CheckpointOutcome, Lessor, Renewal};

type Checked = Result<(), TestCaseError>;

const INTERVAL: Duration = Duration::from_secs(8);

/// The obvious lessor: a list that is searched, and no orders kept.
#[derive(Default)]
struct Model {
    /// TTL, deadline, and whether it was handed out as due.
    leases: BTreeMap<i64, (i64, Duration, bool)>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Grant(i64, i64),
    Revoke(i64),
    Renew(i64),
    Due(usize),
    Retry(i64, u64),
    Checkpoints(usize),
    Settle(i64, bool),
    Sleep(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let id = 1..12_i64;
    prop_oneof![
        3 => (id.clone(), 1..20_i64).prop_map(|(id, ttl)| Step::Grant(id, ttl)),
        1 => id.clone().prop_map(Step::Revoke),
        4 => id.clone().prop_map(Step::Renew),
        2 => (1..5_usize).prop_map(Step::Due),
        1 => (id.clone(), 1..3000_u64).prop_map(|(id, later)| Step::Retry(id, later)),
        1 => (1..5_usize).prop_map(Step::Checkpoints),
        1 => (id, any::<bool>()).prop_map(|(id, unknown)| Step::Settle(id, unknown)),
        4 => (1..4000_u64).prop_map(Step::Sleep),
    ]
}

impl Model {
    fn due(&mut self, now: Duration, limit: usize, retry: &BTreeMap<i64, Duration>) -> Vec<i64> {
        let ready = |id: &i64, lease: &(i64, Duration, bool)| match (lease.2, retry.get(id)) {
            (false, _) => Some(lease.1),
            (true, Some(at)) => Some(*at),
            (true, None) => None,
        };
        let mut due: Vec<(Duration, i64)> = self
            .leases
            .iter()
            .filter_map(|(id, lease)| ready(id, lease).map(|at| (at, *id)))
            .filter(|(at, _)| *at <= now)
            .collect();
        due.sort_unstable();
        due.truncate(limit);
        due.into_iter().map(|(_, id)| id).collect()
    }
}

/// Both, and the time.
struct Walk {
    lessor: Lessor,
    model: Model,
    /// When leases that were handed out are due again.
    retries: BTreeMap<i64, Duration>,
    now: Duration,
}

impl Walk {
    fn new() -> Self {
        let lessor = Lessor::promote(Term(1), Duration::ZERO, [], EXTENSION, Some(INTERVAL));
        let (model, retries) = (Model::default(), BTreeMap::new());
        Self { lessor, model, retries, now: Duration::ZERO }
    }

    fn take(&mut self, step: Step) -> Checked {
        match step {
            Step::Grant(id, ttl) => self.grant(id, ttl),
            Step::Revoke(id) => self.revoke(id),
            Step::Renew(id) => return self.renew(id),
            Step::Due(limit) => return self.due(limit),
            Step::Retry(id, later) => self.retry(id, later),
            Step::Checkpoints(limit) => return self.checkpoints(limit),
            Step::Settle(id, unknown) => self.settle(id, unknown),
            Step::Sleep(millis) => self.now += Duration::from_millis(millis),
        }
        Ok(())
    }

    fn grant(&mut self, id: i64, ttl: i64) {
        if self.model.leases.contains_key(&id) {
            return;
        }
        self.lessor.apply(LeaseChange::Granted { id: LeaseId(id), ttl }, self.now);
        let deadline = self.now + Duration::from_secs(ttl.unsigned_abs());
        self.model.leases.insert(id, (ttl, deadline, false));
    }

    fn revoke(&mut self, id: i64) {
        self.lessor.apply(LeaseChange::Revoked { id: LeaseId(id) }, self.now);
        self.model.leases.remove(&id);
        self.retries.remove(&id);
    }

    fn renew(&mut self, id: i64) -> Checked {
        let renewal = self.lessor.renew(LeaseId(id), self.now);
        let Some((ttl, deadline, doomed)) = self.model.leases.get_mut(&id) else {
            prop_assert_eq!(renewal, Renewal::Unknown);
            return Ok(());
        };
        if *doomed || *deadline <= self.now {
            prop_assert_eq!(renewal, Renewal::Due);
            return Ok(());
        }
        let whole = Duration::from_secs(ttl.unsigned_abs());
        match renewal {
            Renewal::Renewed { ttl: answered } => {
                prop_assert_eq!(answered, *ttl);
                *deadline = self.now + whole;
            }
            Renewal::ClearFirst => {
                prop_assert!(whole > INTERVAL);
                let clear = LeaseChange::Checkpointed { id: LeaseId(id), remaining_ttl: 0 };
                self.lessor.apply(clear, self.now);
                let renewal = self.lessor.renew(LeaseId(id), self.now);
                prop_assert_eq!(renewal, Renewal::Renewed { ttl: *ttl });
                *deadline = self.now + whole;
            }
            Renewal::CheckpointInFlight => prop_assert!(whole > INTERVAL),
            Renewal::Due | Renewal::Unknown => {
                prop_assert!(false, "{renewal:?} of a lease that runs");
            }
        }
        Ok(())
    }

    fn due(&mut self, limit: usize) -> Checked {
        let due = self.lessor.due(self.now, limit).into_iter();
        let due: Vec<i64> = due.map(LeaseId::get).collect();
        prop_assert_eq!(&due, &self.model.due(self.now, limit, &self.retries));
        for id in due {
            self.retries.remove(&id);
            self.model.leases.get_mut(&id).unwrap().2 = true;
        }
        Ok(())
    }

    fn retry(&mut self, id: i64, later: u64) {
        let later = self.now + Duration::from_millis(later);
        self.lessor.retry(&[LeaseId(id)], later);
        if self.model.leases.get(&id).is_some_and(|lease| lease.2) {
            self.retries.entry(id).or_insert(later);
        }
    }

    fn checkpoints(&mut self, limit: usize) -> Checked {
        for (id, remaining) in self.lessor.due_checkpoints(self.now, limit) {
            let (ttl, deadline, doomed) = self.model.leases[&id.get()];
            let left = deadline.saturating_sub(self.now);
            prop_assert!(!doomed && remaining <= ttl);
            prop_assert!(Duration::from_secs(remaining.unsigned_abs()) >= left);
        }
        Ok(())
    }

    fn settle(&mut self, id: i64, unknown: bool) {
        let outcome =
            if unknown { CheckpointOutcome::Unknown } else { CheckpointOutcome::NotLogged };
        let long = self.model.leases.get(&id).is_some_and(|lease| lease.0 > 8);
        if long {
            self.lessor.settle_checkpoints([LeaseId(id)], self.now, outcome);
        }
    }

    /// Both have the same leases, with the same time left, in the same order.
    fn compare(&self) -> Checked {
        prop_assert_eq!(self.lessor.len(), self.model.leases.len());
        for (id, (_, deadline, _)) in &self.model.leases {
            let left = self.lessor.remaining(LeaseId(*id), self.now);
            prop_assert_eq!(left, Some(deadline.saturating_sub(self.now)));
        }
        let leases = self.model.leases.iter();
        let mut order: Vec<_> = leases.map(|(id, lease)| (lease.1, LeaseId(*id))).collect();
        order.sort_unstable();
        let order: Vec<_> = order.into_iter().map(|(_, id)| id).collect();
        prop_assert_eq!(self.lessor.list(), order);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_lessor_does_what_the_obvious_model_does(steps in prop::collection::vec(step(), 1..120)) {
        let mut walk = Walk::new();
        for step in steps {
            walk.take(step)?;
            walk.compare()?;
        }
    }
}
