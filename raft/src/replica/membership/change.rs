//! Changes carried out by the leader, one at a time.
//!
//! What is allowed depends on the group as it is. A leader therefore first applies everything its log
//! holds, decides under a lock, and writes with two fences: openraft takes the entry only in the term
//! it was decided in, and only on the membership it was decided on. Nothing decided elsewhere, and
//! nothing decided earlier that has not shown its outcome yet, can come in between.

use std::collections::BTreeMap;

use openraft::error::{ChangeMembershipError, ClientWriteError, PreconditionFailed, RaftError};
use openraft::raft::Precondition;
use openraft_rt::{AsyncRuntime, Instant, WatchReceiver};
use prost::Message;
use vetch_proto::vetchpb::proposal::Command;
use vetch_proto::vetchpb::{MemberRecord, Proposal};
use vetch_storage::member::Members;
use vetch_storage::{NodeId, Term};

use super::rules::{Group, Plan};
use super::{MemberChange, MemberChangeError, MemberRules};
use crate::platform::{InstantOf, Platform};
use crate::replica::Inner;
use crate::replica::ProposeError;
use crate::replica::propose::{Attempt, encode};
use crate::types::{CommittedLeaderId, Membership, Payload, RaftLogId, TypeConfig, log_index};

/// What became of one attempt.
pub(super) enum Step {
    Done(Result<(), MemberChangeError>),
    /// This member does not lead; nothing was written.
    NotLeader,
}

/// What a change is decided on.
pub(super) struct Basis {
    pub(super) term: Term,
    /// The entry that brought the sets.
    at: Option<RaftLogId>,
    membership: Membership,
    last: u64,
}

/// What a write came to.
pub(super) enum Written {
    Yes,
    /// The membership was another, or is not settled: nothing was written.
    Again,
    No(Step),
}

impl<P: Platform> Inner<P> {
    /// Changes the group, if this member leads it.
    pub(super) async fn change_here(
        &self,
        change: &MemberChange,
        rules: MemberRules,
        request_id: u64,
        deadline: InstantOf<P>,
    ) -> Step {
        match P::Runtime::timeout_at(deadline, self.changing.lock()).await {
            Ok(_turn) => loop {
                match self.attempt_change(change, rules, request_id, deadline).await {
                    Written::Yes => return Step::Done(Ok(())),
                    Written::No(step) => return step,
                    Written::Again if InstantOf::<P>::now() >= deadline => {
                        return Step::Done(Err(MemberChangeError::TimedOut));
                    }
                    Written::Again => P::Runtime::sleep(self.settings.heartbeat_interval).await,
                }
            },
            Err(_) => Step::Done(Err(MemberChangeError::TimedOut)),
        }
    }

    async fn attempt_change(
        &self,
        change: &MemberChange,
        rules: MemberRules,
        request_id: u64,
        deadline: InstantOf<P>,
    ) -> Written {
        if self.stop.has_begun() {
            return Written::No(Step::Done(Err(MemberChangeError::Stopped)));
        }
        let basis = match self.basis(deadline).await {
            Ok(basis) => basis,
            Err(step) => return Written::No(step),
        };
        match self.plan(&basis, change, rules).await {
            Err(refused) => Written::No(Step::Done(Err(refused))),
            Ok(Plan::Update(update)) => {
                let command = Some(Command::MemberUpdate(update));
                let proposal = Proposal { request_id, command, ..Proposal::default() };
                self.update_here(&proposal, basis.term, deadline).await
            }
            Ok(Plan::Sets { voters, learners, record }) => {
                let me = self.identity.member;
                if *change == MemberChange::Remove(me) && self.has_handed_over().await {
                    return Written::No(Step::NotLeader);
                }
                let sets = Membership::new_with_defaults(vec![voters], learners);
                let record = MemberRecord { request_id, ..record };
                self.write_sets(&basis, sets, Some(record), deadline).await
            }
        }
    }

    /// Who leads removes itself by having another lead first: nobody waits for an election. Where
    /// none is ready, openraft's own way remains, which leads on until the entry is committed.
    async fn has_handed_over(&self) -> bool {
        match self.successor() {
            Some(successor) => self.hand_over(successor).await.is_ok(),
            None => false,
        }
    }

    /// The group with all of this leader's log applied.
    pub(super) async fn basis(&self, deadline: InstantOf<P>) -> Result<Basis, Step> {
        let Some(term) = self.leadership.leading() else { return Err(Step::NotLeader) };
        let stopped = || Step::Done(Err(MemberChangeError::Stopped));
        let last = self.raft.with_raft_state(|state| state.log_ids.last().map(|id| id.index));
        let last = last.await.map_err(|_stopped| stopped())?;
        let applied = self.progress.wait(log_index(last.unwrap_or(0)));
        match P::Runtime::timeout_at(deadline, applied).await {
            Ok(Ok(())) => {}
            Ok(Err(_closed)) => return Err(stopped()),
            Err(_) => return Err(Step::Done(Err(MemberChangeError::TimedOut))),
        }
        let effective = self.raft.with_raft_state(|state| {
            let effective = state.membership_state.effective();
            (*effective.log_id(), effective.membership().clone())
        });
        let (at, membership) = effective.await.map_err(|_stopped| stopped())?;
        Ok(Basis { term, at, membership, last: last.map_or(0, |index| index + 1) })
    }

    /// What `change` comes to.
    ///
    /// Whether the group can go on after it is not a matter of who was there lately: whoever counts has
    /// to answer a heartbeat that was sent after the change was asked for. A quorum of the new sets that
    /// has answered is enough; who has not answered within half an election timeout is not there.
    async fn plan(
        &self,
        basis: &Basis,
        change: &MemberChange,
        rules: MemberRules,
    ) -> Result<Plan, MemberChangeError> {
        let began = InstantOf::<P>::now();
        let view = self.views.latest();
        if !rules.asks_for_health(change) {
            return self.group(basis, view.members(), self.lately()).plan(change, rules);
        }
        let patience = began + self.settings.election_timeout / 2;
        // Not the next one that is due: the answers are waited for.
        let asked = self.raft.trigger().heartbeat().await;
        asked.map_err(|_stopped| MemberChangeError::Stopped)?;
        loop {
            let group = self.group(basis, view.members(), |heard| *heard >= began);
            let is_late = InstantOf::<P>::now() >= patience;
            if is_late || self.leadership.leading().is_none() {
                return group.plan(change, rules);
            }
            // Until it is known that who leaves is not there, its loss is one.
            let plan = group.with_reachable(change.member()).plan(change, rules);
            if plan != Err(MemberChangeError::Unhealthy) {
                return plan;
            }
            P::Runtime::sleep(self.settings.heartbeat_interval / 20).await;
        }
    }

    /// Within an election timeout.
    pub(super) fn lately(&self) -> impl Fn(&InstantOf<P>) -> bool + use<P> {
        let timeout = self.settings.election_timeout;
        move |heard| heard.elapsed() < timeout
    }

    /// The group, with those for reachable who have answered something that was sent `then`.
    pub(super) fn group<'a>(
        &self,
        basis: &Basis,
        members: &'a Members,
        then: impl Fn(&InstantOf<P>) -> bool,
    ) -> Group<'a> {
        let metrics = self.metrics.borrow_watched();
        let me = self.identity.member.0;
        let heard = metrics.heartbeat.iter().flatten();
        let reachable = heard.filter(|(_, at)| at.is_some_and(|at| then(&at))).map(|(id, _)| *id);
        let matched = metrics.replication.iter().flatten();
        let matched: BTreeMap<u64, u64> =
            matched.map(|(id, at)| (*id, at.map_or(0, |at| at.index + 1))).collect();
        Group {
            members,
            voters: basis.membership.voter_ids().collect(),
            learners: basis.membership.learner_ids().collect(),
            reachable: reachable.chain([me]).collect(),
            matched,
            last: basis.last,
        }
    }

    async fn update_here(
        &self,
        proposal: &Proposal,
        term: Term,
        deadline: InstantOf<P>,
    ) -> Written {
        let done = match self.attempt(encode(proposal), Some(term), deadline).await {
            Attempt::Done(Ok(_)) => return Written::Yes,
            Attempt::NotLeader => return Written::No(Step::NotLeader),
            // A change of the group is rare, and must not be refused for others' writes.
            Attempt::Done(Err(ProposeError::TooManyRequests)) => return Written::Again,
            Attempt::Done(Err(ProposeError::NoLeader)) => MemberChangeError::NoLeader,
            Attempt::Done(Err(ProposeError::TimedOut)) => MemberChangeError::TimedOut,
            Attempt::Done(Err(ProposeError::TimedOutLeaderChanged)) => {
                MemberChangeError::TimedOutLeaderChanged
            }
            Attempt::Done(Err(ProposeError::Stopped)) => MemberChangeError::Stopped,
        };
        Written::No(Step::Done(Err(done)))
    }

    /// Puts new sets into the log, and waits until they are applied.
    pub(super) async fn write_sets(
        &self,
        basis: &Basis,
        sets: Membership,
        record: Option<MemberRecord>,
        deadline: InstantOf<P>,
    ) -> Written {
        let payload = record.map_or(Payload::Blank, |record| {
            Payload::with_member_record(record.encode_to_vec().into())
        });
        let committed_leader_id = CommittedLeaderId::new(basis.term.0);
        let fences = [
            Precondition::CommittedLeaderId { committed_leader_id },
            Precondition::LastMembershipLogId { last_membership_log_id: basis.at },
        ];
        let written = self.raft.append_membership(sets, payload, fences);
        let Ok(written) = P::Runtime::timeout_at(deadline, written).await else {
            let late = if self.leadership.leading() == Some(basis.term) {
                MemberChangeError::TimedOut
            } else {
                MemberChangeError::TimedOutLeaderChanged
            };
            return Written::No(Step::Done(Err(late)));
        };
        match written {
            Ok(_) => Written::Yes,
            Err(RaftError::Fatal(_)) => Written::No(Step::Done(Err(MemberChangeError::Stopped))),
            Err(RaftError::APIError(refusal)) => not_written(&refusal),
        }
    }
}

fn not_written<R: AsyncRuntime>(refusal: &ClientWriteError<TypeConfig<R>>) -> Written {
    match refusal {
        ClientWriteError::ForwardToLeader(_)
        | ClientWriteError::PreconditionFailed(PreconditionFailed::CommittedLeaderIdMismatch {
            ..
        }) => Written::No(Step::NotLeader),
        ClientWriteError::LogEntryDiscarded(_) => {
            Written::No(Step::Done(Err(MemberChangeError::TimedOutLeaderChanged)))
        }
        ClientWriteError::PreconditionFailed(
            PreconditionFailed::LastMembershipLogIdMismatch { .. }
            | PreconditionFailed::LastLogIdMismatch { .. },
        )
        | ClientWriteError::ChangeMembershipError(
            ChangeMembershipError::InProgress(_) | ChangeMembershipError::UncommittedLeaderLog(_),
        ) => Written::Again,
        ClientWriteError::ChangeMembershipError(
            refusal @ (ChangeMembershipError::EmptyMembership(_)
            | ChangeMembershipError::LearnerNotFound(_)
            | ChangeMembershipError::NodeMetadataChanged(_)
            | ChangeMembershipError::UnsupportedMembershipTransition(_)),
        ) => unreachable!("sets that differ from the last ones by one member: {refusal}"),
    }
}

/// Where `id` is in the group.
pub(super) const fn is_removal_of(change: &MemberChange, id: NodeId) -> bool {
    matches!(change, MemberChange::Remove(removed) if removed.0 == id.0)
}
