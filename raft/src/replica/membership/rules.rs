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
mod tests {
    use super::*;

    fn member(id: u64, started: bool, learner: bool) -> Member {
        let name = if started { format!("m{id}") } else { String::new() };
        let peer_ur_ls = vec![format!("http://m{id}:1")];
        Member { id, name, peer_ur_ls, is_learner: learner, ..Member::default() }
    }

    /// Members with ids from 1, of which so many run and are reached.
    fn group(members: &Members, reachable: &[u64]) -> Group<'static> {
        let members: &'static Members = Box::leak(Box::new(members.clone()));
        let (learners, voters): (Vec<&Member>, Vec<&Member>) =
            members.iter().partition(|member| member.is_learner);
        let ids = |members: Vec<&Member>| members.into_iter().map(|member| member.id).collect();
        let matched = members.iter().map(|member| (member.id, 100)).collect();
        Group {
            members,
            voters: ids(voters),
            learners: ids(learners),
            reachable: reachable.iter().copied().collect(),
            matched,
            last: 100,
        }
    }

    fn table(members: &[Member]) -> Members {
        members.iter().cloned().collect()
    }

    fn verdict(group: &Group<'_>, change: &MemberChange) -> Option<MemberChangeError> {
        group.plan(change, MemberRules::default()).err()
    }

    fn add(learner: bool) -> MemberChange {
        MemberChange::Add { id: NodeId(9), peer_urls: vec!["http://m9:1".to_owned()], learner }
    }

    /// For each group: who has started, who is reached, and what etcd says to a further voter and
    /// to the removal of member 2.
    #[test]
    fn the_quorum_rules_are_etcds() {
        use MemberChangeError::{NotEnoughStarted, Unhealthy};

        type Verdict = Option<MemberChangeError>;
        let cases: [(&[bool], &[u64], Verdict, Verdict); 9] = [
            (&[true], &[1], None, None),
            (&[true, true], &[1, 2], None, None),
            (&[true, true], &[1], Some(Unhealthy), None),
            (&[true, false], &[1], Some(NotEnoughStarted), None),
            (&[true, true, true], &[1, 2, 3], None, None),
            (&[true, true, true], &[1, 3], Some(Unhealthy), None),
            (&[true, true, true], &[1, 2], Some(Unhealthy), Some(Unhealthy)),
            (&[true, true, false], &[1, 2], Some(NotEnoughStarted), Some(NotEnoughStarted)),
            (&[true, true, true, true, false], &[1, 2, 3, 4], None, None),
        ];
        for (started, reachable, adding, removing) in cases {
            let ids = (1..).zip(started);
            let members: Vec<Member> =
                ids.map(|(id, started)| member(id, *started, false)).collect();
            let group = group(&table(&members), reachable);
            assert_eq!(verdict(&group, &add(false)), adding, "add to {started:?}, {reachable:?}");
            assert_eq!(verdict(&group, &add(true)), None, "a learner is no risk");
            if started.len() > 1 {
                let removal = MemberChange::Remove(NodeId(2));
                assert_eq!(verdict(&group, &removal), removing, "{started:?}, {reachable:?}");
            }
            let lax = MemberRules { strict: false, ..MemberRules::default() };
            assert!(group.plan(&add(false), lax).is_ok());
        }
    }

    #[test]
    fn a_learner_is_ready_with_nine_tenths_of_the_log() {
        let members = table(&[member(1, true, false), member(2, true, true)]);
        let mut group = group(&members, &[1, 2]);
        let promote = MemberChange::Promote(NodeId(2));
        for (matched, expected) in [
            (0, Some(MemberChangeError::LearnerNotReady)),
            (89, Some(MemberChangeError::LearnerNotReady)),
            (90, None),
        ] {
            group.matched.insert(2, matched);
            assert_eq!(verdict(&group, &promote), expected, "{matched} of 100");
        }
        // Far behind in entries, it becomes a voter to clients, and votes later.
        (group.last, group.matched) = (100_000, [(1, 100_000), (2, 91_000)].into());
        let Ok(Plan::Sets { voters, learners, record }) =
            group.plan(&promote, MemberRules::default())
        else {
            panic!("nine tenths are enough");
        };
        assert_eq!((voters, learners, record.promoted), ([1].into(), [2].into(), 2));
        assert_eq!(group.ready_voter(), None);
    }

    #[test]
    fn who_is_a_voter_to_clients_votes_when_it_is_near() {
        let members = table(&[member(1, true, false), member(2, false, false)]);
        let mut group = group(&members, &[1, 2]);
        (group.voters, group.learners) = ([1].into(), [2].into());
        assert_eq!(group.ready_voter(), Some(2));
        assert_eq!(group.with_voter(2), ([1, 2].into(), [].into()));
        group.matched.insert(2, 0);
        assert_eq!(group.ready_voter(), None, "it has said nothing yet");
        group.matched.insert(2, 100);
        group.reachable.remove(&2);
        assert_eq!(group.ready_voter(), None);
    }

    #[test]
    fn the_last_voter_stays_whatever_the_rules() {
        let members = table(&[member(1, true, false), member(2, true, true)]);
        let group = group(&members, &[1, 2]);
        let lax = MemberRules { strict: false, max_learners: 9 };
        let removal = group.plan(&MemberChange::Remove(NodeId(1)), lax);
        assert_eq!(removal, Err(MemberChangeError::NotEnoughStarted));
    }
}
