//! Proposals: in with a bound, out with what applying them did.
//!
//! There is no batcher of our own: openraft drains its queue of waiting proposals into one append,
//! and one more task in between would only add a hop.

use std::sync::Arc;

use bytes::BytesMut;
use openraft::error::{ClientWriteError, Fatal as RaftFatal};
use openraft::raft::ClientWriteResult;
use openraft_rt::{AsyncRuntime, Instant};
use prost::Message;
use vetch_proto::vetchpb::Proposal;
use vetch_storage::{Applied, Term};

use super::{Inner, ProposeError};
use crate::platform::{InstantOf, Platform};
use crate::types::{EncodedProposal, TypeConfig, Waiter};

type Answer<P> = ClientWriteResult<TypeConfig<<P as Platform>::Runtime>>;

/// What became of one attempt.
pub(super) enum Attempt {
    Done(Result<Arc<Applied>, ProposeError>),
    /// Nobody took it, or it is lost for sure: it can be given to the next leader.
    NotLeader,
}

impl<P: Platform> Inner<P> {
    pub(super) async fn propose(
        &self,
        mut proposal: Proposal,
        term: Option<Term>,
    ) -> Result<Arc<Applied>, ProposeError> {
        proposal.request_id = self.awaited.next_id();
        let encoded = encode(&proposal);
        let deadline = InstantOf::<P>::now() + self.settings.request_timeout;
        loop {
            let leader = self.leadership.leader();
            let other = leader.filter(|leader| *leader != self.identity.member && term.is_none());
            let attempt = match other {
                Some(other) => {
                    self.forward(other, proposal.request_id, encoded.clone(), deadline).await
                }
                None => self.attempt(encoded.clone(), term, deadline).await,
            };
            match attempt {
                Attempt::Done(answer) => return answer,
                Attempt::NotLeader if term.is_some() => return Err(ProposeError::NoLeader),
                Attempt::NotLeader => {
                    let news = self.await_leader(leader);
                    let late = P::Runtime::timeout_at(deadline, news).await.is_err();
                    if late || InstantOf::<P>::now() >= deadline {
                        return Err(ProposeError::NoLeader);
                    }
                }
            }
        }
    }

    /// Gives it to this member's own log, if it leads.
    pub(super) async fn attempt(
        &self,
        encoded: EncodedProposal,
        term: Option<Term>,
        deadline: InstantOf<P>,
    ) -> Attempt {
        if self.stop.has_begun() {
            return Attempt::Done(Err(ProposeError::Stopped));
        }
        let Some(permit) = self.admission.admit(encoded.0.len()) else {
            return Attempt::Done(Err(ProposeError::TooManyRequests));
        };
        let led_in = self.leadership.leading();
        // openraft writes those together that name the same term, as those of other members do.
        let term = term.or(led_in);
        let (waiter, answer) = Waiter::new(Some(permit));
        if self.submit(encoded, waiter, term).await.is_err() {
            return Attempt::Done(Err(ProposeError::Stopped));
        }
        match P::Runtime::timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => outcome::<P>(answer),
            // openraft let go of the waiter: it stops.
            Ok(Err(_)) => Attempt::Done(Err(ProposeError::Stopped)),
            // As in etcd, that nobody leads any more is no change of leaders.
            Err(_) if led_in == self.leadership.leading() || self.leadership.leader().is_none() => {
                Attempt::Done(Err(ProposeError::TimedOut))
            }
            Err(_) => Attempt::Done(Err(ProposeError::TimedOutLeaderChanged)),
        }
    }

    async fn submit(
        &self,
        encoded: EncodedProposal,
        waiter: Waiter<Answer<P>>,
        term: Option<Term>,
    ) -> Result<(), RaftFatal<TypeConfig<P::Runtime>>> {
        match term {
            None => self.raft.client_write_ff(encoded, Some(waiter)).await,
            Some(term) => self.raft.write(encoded).responder(waiter).with_leader(term.0).await,
        }
    }
}

fn outcome<P: Platform>(answer: Answer<P>) -> Attempt {
    match answer {
        Ok(response) => Attempt::Done(Ok(response.data)),
        Err(ClientWriteError::ForwardToLeader(_)) => Attempt::NotLeader,
        Err(ClientWriteError::LogEntryDiscarded(_)) => {
            Attempt::Done(Err(ProposeError::TimedOutLeaderChanged))
        }
        Err(
            ClientWriteError::ChangeMembershipError(_) | ClientWriteError::PreconditionFailed(_),
        ) => unreachable!("only membership changes are refused so, and this was none"),
    }
}

/// The proposal's bytes: made once, then only referred to.
pub(super) fn encode(proposal: &Proposal) -> EncodedProposal {
    let mut bytes = BytesMut::with_capacity(proposal.encoded_len());
    proposal.encode_raw(&mut bytes);
    EncodedProposal(bytes.freeze())
}
