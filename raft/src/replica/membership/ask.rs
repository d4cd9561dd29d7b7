//! Changes asked for on any member, by way of the leader.

use std::time::Duration;

use openraft_rt::{AsyncRuntime, Instant, Select2};
use vetch_proto::etcdserverpb::Member;
use vetch_proto::vetchpb::member_change_reply::{Outcome, Refused};
use vetch_proto::vetchpb::peer_reply::Reply;
use vetch_proto::vetchpb::peer_request::Request;
use vetch_proto::vetchpb::refusal::Reason;
use vetch_proto::vetchpb::{MemberChangeReply, MemberChangeRequest, MembersReply, Refusal};
use vetch_storage::NodeId;

use super::change::{Step, is_removal_of};
use super::{MemberChange, MemberChangeError, MemberRules, decode, encode};
use crate::platform::{InstantOf, Platform};
use crate::replica::Inner;
use crate::replica::awaited::Fate;
use crate::transport::LinkError;
use crate::transport::peer::AskError;
use crate::transport::wire::{self, Unreadable, refuse};

type Answer = Result<Vec<Member>, MemberChangeError>;

/// What asking one leader came to.
enum Asked {
    Done(Answer),
    NotLeader,
}

impl<P: Platform> Inner<P> {
    /// Changes the group, and returns its members then.
    pub(in crate::replica) async fn change_membership(
        &self,
        change: MemberChange,
        rules: MemberRules,
    ) -> Answer {
        let request_id = self.awaited.next_id();
        let deadline = InstantOf::<P>::now() + self.settings.request_timeout;
        loop {
            if self.stop.has_begun() {
                return Err(MemberChangeError::Stopped);
            }
            let leader = self.leadership.leader();
            let asked = match leader.filter(|leader| *leader != self.identity.member) {
                Some(leader) => self.ask(leader, &change, rules, request_id, deadline).await,
                None => match self.change_here(&change, rules, request_id, deadline).await {
                    Step::Done(done) => Asked::Done(done.map(|()| self.members())),
                    Step::NotLeader => Asked::NotLeader,
                },
            };
            if let Asked::Done(answer) = asked {
                return answer;
            }
            let news = self.await_leader(leader);
            if P::Runtime::timeout_at(deadline, news).await.is_err() {
                return Err(MemberChangeError::NoLeader);
            }
        }
    }

    /// What became of a change that was asked of another member.
    fn made(&self, fate: Option<&Fate>) -> Answer {
        match fate {
            Some(Fate::Applied(_)) => Ok(self.members()),
            Some(Fate::Lost | Fate::Unknown) => Err(MemberChangeError::TimedOutLeaderChanged),
            None => Err(MemberChangeError::Stopped),
        }
    }

    fn members(&self) -> Vec<Member> {
        self.views.latest().members().iter().cloned().collect()
    }

    async fn ask(
        &self,
        leader: NodeId,
        change: &MemberChange,
        rules: MemberRules,
        request_id: u64,
        deadline: InstantOf<P>,
    ) -> Asked {
        let mut waits = self.awaited.register(request_id, None);
        let within = deadline - InstantOf::<P>::now();
        let request = Request::ChangeMember(MemberChangeRequest {
            request_id,
            within_ms: u64::try_from(within.as_millis()).unwrap_or(u64::MAX),
            strict: rules.strict,
            max_learners: rules.max_learners,
            change: Some(encode(change)),
        });
        let asked = self.peers.ask(leader, request, within);
        match P::Runtime::select2(&mut waits.arrives, asked).await {
            Select2::First(fate) => return Asked::Done(self.made(fate.ok().as_ref())),
            // Who was removed hears no more of the log, not even this.
            Select2::Second(Ok(Reply::MemberChanged(reply)))
                if is_removal_of(change, self.identity.member) =>
            {
                if let Some(Outcome::Done(MembersReply { members, .. })) = reply.outcome {
                    return Asked::Done(Ok(members));
                }
                if let Some(refused) = refused(&reply) {
                    return Asked::Done(Err(refused));
                }
            }
            Select2::Second(answer) => {
                if let Some(asked) = settled(answer) {
                    return asked;
                }
            }
        }
        // Done, or perhaps: nothing but this member's own log tells.
        match P::Runtime::timeout_at(deadline, &mut waits.arrives).await {
            Ok(fate) => Asked::Done(self.made(fate.ok().as_ref())),
            Err(_) if self.leadership.leader() == Some(leader) => {
                Asked::Done(Err(MemberChangeError::TimedOut))
            }
            Err(_) => Asked::Done(Err(MemberChangeError::TimedOutLeaderChanged)),
        }
    }

    /// Does for a peer what its client asked of it, if this member leads.
    pub(in crate::replica) async fn change_for_peer(
        &self,
        request: MemberChangeRequest,
    ) -> Result<Reply, Refusal> {
        let MemberChangeRequest { request_id, within_ms, strict, max_learners, change } = request;
        let change = change.ok_or(Unreadable("its change"));
        let change = decode(change.map_err(|error| wire::unreadable(&error))?);
        let rules = MemberRules { strict, max_learners };
        let within = Duration::from_millis(within_ms).min(self.settings.request_timeout);
        let deadline = InstantOf::<P>::now() + within;
        let error = match self.change_here(&change, rules, request_id, deadline).await {
            Step::NotLeader => return Err(refuse(Reason::NotLeader, "this member does not lead")),
            Step::Done(Ok(())) => {
                let done = Outcome::Done(self.members_reply());
                return Ok(Reply::MemberChanged(MemberChangeReply { outcome: Some(done) }));
            }
            Step::Done(Err(error)) => error,
        };
        if let Some(refused) = error.refused() {
            let outcome = Some(Outcome::Refused(refused.into()));
            return Ok(Reply::MemberChanged(MemberChangeReply { outcome }));
        }
        let stops = error == MemberChangeError::Stopped;
        Err(refuse(if stops { Reason::Stopping } else { Reason::TimedOut }, error.to_string()))
    }

    pub(in crate::replica) fn members_reply(&self) -> MembersReply {
        MembersReply { cluster: self.identity.cluster.0, members: self.members() }
    }
}

/// The leader's no.
fn refused(reply: &MemberChangeReply) -> Option<MemberChangeError> {
    match reply.outcome {
        Some(Outcome::Refused(number)) => {
            Refused::try_from(number).ok().and_then(MemberChangeError::of)
        }
        Some(Outcome::Done(_)) | None => None,
    }
}

/// What an answer settles; `None` while the change may have been, or may yet be, applied.
fn settled(answer: Result<Reply, AskError>) -> Option<Asked> {
    match answer {
        Ok(Reply::MemberChanged(reply)) => refused(&reply).map(|error| Asked::Done(Err(error))),
        Ok(_) | Err(AskError::Link(LinkError::Lost(_))) => None,
        Err(AskError::Link(LinkError::Unreachable(_))) => Some(Asked::NotLeader),
        Err(AskError::Refused(refusal)) => match refusal.reason() {
            Reason::NotLeader | Reason::Stranger | Reason::Unreadable => Some(Asked::NotLeader),
            Reason::Removed => Some(Asked::Done(Err(MemberChangeError::Stopped))),
            Reason::TooMany | Reason::Stopping | Reason::TimedOut | Reason::Unspecified => None,
        },
    }
}
