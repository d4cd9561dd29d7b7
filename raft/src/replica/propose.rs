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
use crate::platform::Platform;
use crate::types::{EncodedProposal, TypeConfig, Waiter};

type InstantOf<P> = <<P as Platform>::Runtime as AsyncRuntime>::Instant;
type Answer<P> = ClientWriteResult<TypeConfig<<P as Platform>::Runtime>>;

/// What became of one attempt.
enum Attempt {
    Done(Result<Arc<Applied>, ProposeError>),
    /// Nobody took it; it is in no log.
    NotLeader,
}

impl<P: Platform> Inner<P> {
    pub(super) async fn propose(
        &self,
        proposal: &Proposal,
        term: Option<Term>,
    ) -> Result<Arc<Applied>, ProposeError> {
        let encoded = encode(proposal);
        let deadline = InstantOf::<P>::now() + self.settings.request_timeout;
        loop {
            match self.attempt(encoded.clone(), term, deadline).await {
                Attempt::Done(answer) => return answer,
                Attempt::NotLeader if term.is_some() => return Err(ProposeError::NoLeader),
                Attempt::NotLeader => {
                    let leads = self.leadership.until_leading();
                    if P::Runtime::timeout_at(deadline, leads).await.is_err() {
                        return Err(ProposeError::NoLeader);
                    }
                }
            }
        }
    }

    async fn attempt(
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
        let (waiter, answer) = Waiter::new(Some(permit));
        if self.submit(encoded, waiter, term).await.is_err() {
            return Attempt::Done(Err(ProposeError::Stopped));
        }
        match P::Runtime::timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => outcome::<P>(answer),
            // openraft let go of the waiter: it stops.
            Ok(Err(_)) => Attempt::Done(Err(ProposeError::Stopped)),
            Err(_) if self.leadership.leading() == led_in => {
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
fn encode(proposal: &Proposal) -> EncodedProposal {
    let mut bytes = BytesMut::with_capacity(proposal.encoded_len());
    proposal.encode_raw(&mut bytes);
    EncodedProposal(bytes.freeze())
}
