//! What a follower asks of the leader: to take a proposal, and for a read index.

use openraft_rt::{AsyncRuntime, Instant, Select2};
use vetch_proto::vetchpb::peer_reply::Reply;
use vetch_proto::vetchpb::peer_request::Request;
use vetch_proto::vetchpb::refusal::Reason;
use vetch_proto::vetchpb::{ForwardedProposal, ReadIndexReply, ReadIndexRequest};
use vetch_storage::{LogIndex, NodeId};

use super::awaited::Fate;
use super::propose::Attempt;
use super::{Inner, ProposeError};
use crate::platform::{InstantOf, Platform};
use crate::transport::LinkError;
use crate::transport::peer::AskError;
use crate::types::{EncodedProposal, log_index};

impl<P: Platform> Inner<P> {
    /// Has `leader` take the proposal `id`, and waits until it is applied here.
    ///
    /// The answer is this member's own: it holds even if the leader's never arrives. When the leader is
    /// lost, the next one's first entry tells what became of it: see [`Fate::Lost`].
    pub(super) async fn forward(
        &self,
        leader: NodeId,
        id: u64,
        encoded: EncodedProposal,
        deadline: InstantOf<P>,
    ) -> Attempt {
        if self.stop.has_begun() {
            return Attempt::Done(Err(ProposeError::Stopped));
        }
        let Some(_permit) = self.admission.admit(encoded.0.len()) else {
            return Attempt::Done(Err(ProposeError::TooManyRequests));
        };
        // Nowhere else may it enter a log, so that a later term tells that it never did.
        let term = self.leadership.term();
        let mut waits = self.awaited.register(id, Some(term));
        let within = deadline - InstantOf::<P>::now();
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let proposal = ForwardedProposal { proposal: encoded.0, within_ms, term: term.0 };
        let request = Request::Propose(proposal);
        let asked = self.peers.ask(leader, request, within);
        match P::Runtime::select2(&mut waits.arrives, asked).await {
            Select2::First(fate) => return settled(fate.ok()),
            Select2::Second(answer) => {
                if let Some(attempt) = refusal(answer) {
                    return attempt;
                }
            }
        }
        // In the log, or perhaps: nothing but this member's own log tells.
        match P::Runtime::timeout_at(deadline, &mut waits.arrives).await {
            Ok(fate) => settled(fate.ok()),
            Err(_) if self.leadership.term() == term => Attempt::Done(Err(ProposeError::TimedOut)),
            Err(_) => Attempt::Done(Err(ProposeError::TimedOutLeaderChanged)),
        }
    }

    /// A read index of `leader`'s; `None` when it gave none in time.
    pub(super) async fn ask_read_index(
        &self,
        leader: NodeId,
        deadline: InstantOf<P>,
    ) -> Option<LogIndex> {
        let within = (deadline - InstantOf::<P>::now()).min(self.settings.election_timeout);
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let request = Request::ReadIndex(ReadIndexRequest { within_ms });
        match self.peers.ask(leader, request, within).await {
            Ok(Reply::ReadIndex(ReadIndexReply { index })) => Some(log_index(index)),
            Ok(_) | Err(_) => None,
        }
    }
}

fn settled(fate: Option<Fate>) -> Attempt {
    match fate {
        Some(Fate::Applied(applied)) => Attempt::Done(Ok(applied)),
        Some(Fate::Lost) => Attempt::NotLeader,
        Some(Fate::Unknown) => Attempt::Done(Err(ProposeError::TimedOutLeaderChanged)),
        // Let go of without an answer: the replica stops.
        None => Attempt::Done(Err(ProposeError::Stopped)),
    }
}

/// What the leader's answer settles: that it never took the proposal. `None` while it may have.
fn refusal(answer: Result<Reply, AskError>) -> Option<Attempt> {
    match answer {
        Ok(_) | Err(AskError::Link(LinkError::Lost(_))) => None,
        Err(AskError::Link(LinkError::Unreachable(_))) => Some(Attempt::NotLeader),
        Err(AskError::Refused(refusal)) => match refusal.reason() {
            Reason::NotLeader | Reason::Stranger | Reason::Unreadable => Some(Attempt::NotLeader),
            Reason::Removed => Some(Attempt::Done(Err(ProposeError::Stopped))),
            Reason::TooMany => Some(Attempt::Done(Err(ProposeError::TooManyRequests))),
            Reason::Stopping | Reason::TimedOut | Reason::Unspecified => None,
        },
    }
}
