//! A lease lives at least as long as its holder was told.

use std::collections::BTreeMap;
use std::time::Duration;

use vetch_storage::{Applied, LeaseChange, LeaseId};

use crate::sim::process::world_time;

/// The fastest clock of any world, in percent of the true one; a leader with such a clock ends leases
/// early by as much.
pub(crate) const FASTEST_PERCENT: u32 = 105;

#[derive(Default)]
pub(super) struct Leases {
    facts: BTreeMap<LeaseId, Fact>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Fact {
    /// Until when its holder may count on it.
    promised: Option<Duration>,
    expired: Option<Duration>,
}

impl Leases {
    /// Ends of leases that are new here: with the first member that applies them.
    pub(super) fn expire(&mut self, applied: &Applied) -> u64 {
        let mut new = 0;
        for change in &applied.lease_changes {
            if let LeaseChange::Revoked { id } = change {
                let fact = self.facts.entry(*id).or_default();
                if fact.expired.is_none() {
                    fact.expired = Some(world_time());
                    new += 1;
                }
            }
        }
        new
    }

    /// The lease changes of an entry that became visible.
    pub(super) fn changed(&mut self, changes: &[LeaseChange]) -> Vec<String> {
        let ended = changes.iter().filter_map(|change| match change {
            LeaseChange::Revoked { id } => Some(*id),
            LeaseChange::Granted { .. } | LeaseChange::Checkpointed { .. } => None,
        });
        ended.filter_map(|id| self.shortened(id)).collect()
    }

    pub(super) fn promised(&mut self, id: LeaseId, ttl: i64, asked: Duration) -> Option<String> {
        let ttl = Duration::from_secs(u64::try_from(ttl).unwrap_or(0)) * 100 / FASTEST_PERCENT;
        let fact = self.facts.entry(id).or_default();
        fact.promised = fact.promised.max(Some(asked + ttl));
        self.shortened(id)
    }

    fn shortened(&self, id: LeaseId) -> Option<String> {
        let Fact { promised: Some(promised), expired: Some(expired) } = self.facts.get(&id)? else {
            return None;
        };
        (expired < promised).then(|| {
            format!("lease {id} was promised until {promised:?} and expired at {expired:?}")
        })
    }
}
