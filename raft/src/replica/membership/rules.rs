//! Which changes are allowed, and what the log's sets are afterwards. Order of the checks and their
//! bounds are etcd's.

use std::collections::{BTreeMap, BTreeSet};

use vetch_proto::etcdserverpb::{Member, MemberUpdateRequest};
use vetch_proto::vetchpb::MemberRecord;
use vetch_storage::member::Members;
use vetch_storage::{NodeId, Planted};

use super::{MemberChange, MemberChangeError, MemberRules};

/// A learner may become a voter when it has this part of the leader's log, in hundredths.
const READY_PERCENT: u64 = 90;

/// Entries that a learner may lack at most when its vote begins to count: until it has them, nothing
/// might be committed.
pub(crate) const MAX_LAG: u64 = 1_000;

/// The group as its leader knows it, with all of the leader's log applied.
#[derive(Debug)]
pub(crate) struct Group<'a> {
    pub(crate) members: &'a Members,
    /// The log's sets.
    pub(crate) voters: BTreeSet<u64>,
    pub(crate) learners: BTreeSet<u64>,
    /// Members that answer, the leader itself among them: lately, or since the change was asked for.
    pub(crate) reachable: BTreeSet<u64>,
    /// How many entries of the log each member is known to have.
    pub(crate) matched: BTreeMap<u64, u64>,
    /// How many the leader has.
    pub(crate) last: u64,
}

/// What to put into the log.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Plan {
    /// New sets, and what becomes of the member table.
    Sets { voters: BTreeSet<u64>, learners: BTreeSet<u64>, record: MemberRecord },
    /// New peer URLs; the sets stay.
    Update(MemberUpdateRequest),
}

impl Group<'_> {
    /// What `change` comes to.
    pub(crate) fn plan(
        &self,
        change: &MemberChange,
        rules: MemberRules,
    ) -> Result<Plan, MemberChangeError> {
        match change {
            MemberChange::Add { id, peer_urls, learner } => {
                if rules.strict && !learner {
                    self.check_new_voter()?;
                }
                self.check_new(*id, peer_urls)?;
                if *learner && self.learner_records() >= rules.max_learners {
                    return Err(MemberChangeError::TooManyLearners);
                }
                Ok(self.add(*id, peer_urls, *learner))
            }
            MemberChange::Promote(id) => self.promote(*id, rules),
            MemberChange::Remove(id) => self.remove(*id, rules),
            MemberChange::Update { id, peer_urls } => {
                if self.members.get(*id).is_none() {
                    return Err(MemberChangeError::NotFound);
                }
                self.check_urls(Some(*id), peer_urls)?;
                Ok(Plan::Update(MemberUpdateRequest { id: id.0, peer_ur_ls: peer_urls.clone() }))
            }
        }
    }

    /// The group, with `id` among those that answer.
    pub(crate) fn with_reachable(mut self, id: NodeId) -> Self {
        self.reachable.insert(id.0);
        self
    }

    /// A member that is a voter to clients, and follows only until it has caught up: whose vote may
    /// count now. See the module above.
    pub(crate) fn ready_voter(&self) -> Option<u64> {
        let is_voter = |id: u64| self.members.get(NodeId(id)).is_some_and(|m| !m.is_learner);
        self.learners.iter().copied().find(|id| is_voter(*id) && self.is_near(*id))
    }

    /// The sets with `id` among the voters.
    pub(crate) fn with_voter(&self, id: u64) -> (BTreeSet<u64>, BTreeSet<u64>) {
        let (mut voters, mut learners) = (self.voters.clone(), self.learners.clone());
        learners.remove(&id);
        voters.insert(id);
        (voters, learners)
    }

    fn is_near(&self, id: u64) -> bool {
        let matched = self.matched.get(&id).copied().unwrap_or(0);
        self.reachable.contains(&id) && matched > 0 && matched + MAX_LAG >= self.last
    }

    /// Members that are voters to clients.
    fn voter_records(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.is_learner)
    }

    fn learner_records(&self) -> u64 {
        self.members.iter().filter(|member| member.is_learner).count() as u64
    }

    fn add(&self, id: NodeId, peer_urls: &[String], learner: bool) -> Plan {
        let mut learners = self.learners.clone();
        learners.insert(id.0);
        let member = Member {
            id: id.0,
            peer_ur_ls: peer_urls.to_vec(),
            is_learner: learner,
            ..Member::default()
        };
        let record = MemberRecord { member: Some(member), ..MemberRecord::default() };
        if learner && Planted::LearnerVotes.is_on() {
            let (voters, learners) = self.with_voter(id.0);
            return Plan::Sets { voters, learners, record };
        }
        Plan::Sets { voters: self.voters.clone(), learners, record }
    }

    fn check_new(&self, id: NodeId, peer_urls: &[String]) -> Result<(), MemberChangeError> {
        if self.members.is_removed(id) {
            return Err(MemberChangeError::NotFound);
        }
        if self.members.get(id).is_some() {
            return Err(MemberChangeError::IdExists);
        }
        self.check_urls(None, peer_urls)
    }

    fn check_urls(
        &self,
        own: Option<NodeId>,
        peer_urls: &[String],
    ) -> Result<(), MemberChangeError> {
        let mut others = self.members.iter().filter(|member| Some(NodeId(member.id)) != own);
        let taken = others.any(|other| other.peer_ur_ls.iter().any(|url| peer_urls.contains(url)));
        if taken { Err(MemberChangeError::PeerUrlExists) } else { Ok(()) }
    }

    /// Enough members run to go on with one more, even if that never comes. A second member is
    /// always welcome.
    fn check_new_voter(&self) -> Result<(), MemberChangeError> {
        let voters = self.voter_records().count();
        let started = self.voter_records().filter(|member| is_started(member)).count();
        let quorum = quorum(voters + 1);
        let second = voters == 1 && started == 1;
        if !second && started < quorum {
            return Err(MemberChangeError::NotEnoughStarted);
        }
        let connected = self.connected();
        if connected < quorum && connected < voters {
            return Err(MemberChangeError::Unhealthy);
        }
        Ok(())
    }

    fn connected(&self) -> usize {
        self.voter_records().filter(|member| self.reachable.contains(&member.id)).count()
    }

    fn promote(&self, id: NodeId, rules: MemberRules) -> Result<Plan, MemberChangeError> {
        let member = self.members.get(id).ok_or(MemberChangeError::NotFound)?;
        if !member.is_learner {
            return Err(MemberChangeError::NotLearner);
        }
        let matched = self.matched.get(&id.0).copied().unwrap_or(0);
        if matched * 100 < self.last * READY_PERCENT {
            return Err(MemberChangeError::LearnerNotReady);
        }
        let voters = self.voter_records().count();
        let started = self.voter_records().filter(|member| is_started(member)).count();
        if rules.strict && started + 1 < quorum(voters + 1) {
            return Err(MemberChangeError::NotEnoughStarted);
        }
        let record = MemberRecord { promoted: id.0, ..MemberRecord::default() };
        let (voters, learners) = if self.is_near(id.0) {
            self.with_voter(id.0)
        } else {
            (self.voters.clone(), self.learners.clone())
        };
        Ok(Plan::Sets { voters, learners, record })
    }

    fn remove(&self, id: NodeId, rules: MemberRules) -> Result<Plan, MemberChangeError> {
        let member = self.members.get(id);
        if rules.strict && member.is_none_or(|member| !member.is_learner) {
            self.check_rest(id)?;
        }
        if member.is_none() {
            return Err(MemberChangeError::NotFound);
        }
        let (mut voters, mut learners) = (self.voters.clone(), self.learners.clone());
        voters.remove(&id.0);
        learners.remove(&id.0);
        if voters.is_empty() {
            // Whatever the rules: nobody would be left to decide anything.
            return Err(MemberChangeError::NotEnoughStarted);
        }
        let record = MemberRecord { removed: id.0, ..MemberRecord::default() };
        Ok(Plan::Sets { voters, learners, record })
    }

    /// The voters but for `id` can go on without it. One that is not reached anyway is no loss.
    fn check_rest(&self, id: NodeId) -> Result<(), MemberChangeError> {
        let rest = || self.voter_records().filter(|member| member.id != id.0);
        let quorum = quorum(rest().count());
        if rest().filter(|member| is_started(member)).count() < quorum {
            return Err(MemberChangeError::NotEnoughStarted);
        }
        let connected = rest().filter(|member| self.reachable.contains(&member.id)).count();
        if self.reachable.contains(&id.0) && connected < quorum {
            return Err(MemberChangeError::Unhealthy);
        }
        Ok(())
    }
}

/// It has run: only then has it said its name.
fn is_started(member: &Member) -> bool {
    !member.name.is_empty()
}

const fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

#[cfg(test)]
mod tests;
