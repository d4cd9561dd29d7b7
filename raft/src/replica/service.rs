//! What this member does for its peers.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use openraft_rt::{AsyncRuntime, Instant, Select2};
use vetch_proto::vetchpb::peer_reply::Reply;
use vetch_proto::vetchpb::peer_request::Request;
use vetch_proto::vetchpb::refusal::Reason;
use vetch_proto::vetchpb::{
    AppendReply, AppendRequest, ForwardedProposal, Hello, MembersRequest, PeerReply, PeerRequest,
    ProposalDone, ReadIndexReply, ReadIndexRequest, Refusal, append_reply,
};
use vetch_storage::{NodeId, Term};

use super::propose::Attempt;
use super::{Inner, ProposeError, ReadIndexError, config};
use crate::platform::{InstantOf, Platform};
use crate::transport::PeerService;
use crate::transport::wire::{self, Unreadable, refuse};
use crate::types::rpc::{
    AppendEntriesRequest, AppendEntriesResponse, StreamAppendError, StreamAppendResult,
};
use crate::types::{EncodedProposal, raft_index};

/// The replica as its peers see it.
pub(super) struct Service<P: Platform>(pub(super) Arc<Inner<P>>);

impl<P: Platform> PeerService for Service<P> {
    fn call(&self, request: PeerRequest) -> BoxFuture<'static, PeerReply> {
        let inner = Arc::clone(&self.0);
        async move {
            let instance = inner.peers.roster.instance();
            let reply = inner.answer(request).await.unwrap_or_else(Reply::Refused);
            PeerReply { instance, reply: Some(reply) }
        }
        .boxed()
    }

    fn append(
        &self,
        requests: BoxStream<'static, AppendRequest>,
    ) -> BoxStream<'static, AppendReply> {
        let inner = Arc::clone(&self.0);
        stream::once(async move { inner.take_entries(requests).await }).flatten().boxed()
    }
}

impl<P: Platform> Inner<P> {
    async fn answer(self: &Arc<Self>, request: PeerRequest) -> Result<Reply, Refusal> {
        if let (None, Some(Request::Members(asked))) = (&request.hello, &request.request) {
            return Ok(self.introduce(*asked).await);
        }
        let from = self.admit(request.hello.as_ref()).await?;
        let unreadable = |error: Unreadable| wire::unreadable(&error);
        match request.request.ok_or(Unreadable("its request")).map_err(unreadable)? {
            Request::Heartbeat(append) => {
                let append = wire::decode_append(append).map_err(unreadable)?;
                let result = self.hear(append).await?;
                self.note_leader(&result);
                Ok(Reply::Heartbeat(wire::encode_append_result::<P::Runtime>(
                    self.signed(),
                    &result,
                )))
            }
            Request::Vote(_) | Request::PreVote(_) if !self.may_vote.get() => Err(refuse(
                Reason::Unspecified,
                "this member has just started, and votes for nobody",
            )),
            Request::Vote(vote) => {
                let vote = wire::decode_vote_request(vote).map_err(unreadable)?;
                let response = self.raft.vote(vote).await.map_err(|_stopped| stopping())?;
                Ok(Reply::Vote(wire::encode_vote_response(&response)))
            }
            Request::PreVote(vote) => {
                let vote = wire::decode_vote_request(vote).map_err(unreadable)?;
                let response = self.raft.pre_vote(vote).await.map_err(|_stopped| stopping())?;
                Ok(Reply::Vote(wire::encode_vote_response(&response)))
            }
            Request::Transfer(transfer) => {
                let transfer = wire::decode_transfer(transfer).map_err(unreadable)?;
                let response = self.raft.handle_transfer_leader(transfer).await;
                let response = response.map_err(|_stopped| stopping())?;
                Ok(Reply::Transfer(wire::encode_transfer_response::<P::Runtime>(&response)))
            }
            Request::Propose(proposal) => self.take_proposal(proposal).await,
            Request::ReadIndex(request) => self.give_read_index(request).await,
            Request::Snapshot(chunk) => self.take_snapshot(chunk).await,
            Request::ChangeMember(request) => self.change_for_peer(request).await,
            Request::Members(_) => Ok(Reply::Members(self.members_reply())),
            Request::Ask(question) => self.give_answer(question).await,
            Request::Compare(digests) => Ok(self.take_digests(from, digests)),
            Request::Hash(request) => self.give_hash(request).await,
        }
    }

    /// Takes a heartbeat.
    ///
    /// openraft answers when its disk has all that it was given before. That this member has heard its
    /// leader, and follows it, is true before, and a leader whose followers' disks stall has not lost them:
    /// what is late for the disk is answered from openraft's state, as of after the heartbeat. Such an answer
    /// says of no entry that it is durable.
    async fn hear(
        &self,
        beat: AppendEntriesRequest<P::Runtime>,
    ) -> Result<StreamAppendResult<P::Runtime>, Refusal> {
        let (vote, prev) = (beat.vote, beat.prev_log_id);
        let mut taken = Box::pin(self.raft.append_entries(beat));
        let pause = P::Runtime::sleep(self.settings.heartbeat_interval / 10);
        let response = match P::Runtime::select2(&mut taken, pause).await {
            Select2::First(response) => response,
            Select2::Second(()) => {
                let follows = self.raft.with_raft_state(move |state| *state.vote_ref() == vote);
                match P::Runtime::select2(&mut taken, Box::pin(follows)).await {
                    Select2::First(response) => response,
                    Select2::Second(Ok(true)) => return Ok(Ok(None)),
                    Select2::Second(_) => taken.await,
                }
            }
        };
        Ok(match response.map_err(|_stopped| stopping())? {
            AppendEntriesResponse::Success => Ok(prev),
            AppendEntriesResponse::PartialSuccess(upto) => Ok(upto),
            AppendEntriesResponse::Conflict => {
                Err(StreamAppendError::Conflict(prev.ok_or_else(stopping)?))
            }
            AppendEntriesResponse::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote)),
        })
    }

    /// Whether to listen to whoever says `hello`: it is who it should be, and was not removed.
    async fn admit(&self, hello: Option<&Hello>) -> Result<NodeId, Refusal> {
        let from = self.peers.roster.admit(hello).await?;
        if self.views.latest().members().is_removed(from) {
            let message = format!("member {:x} was removed from the cluster for good", from.0);
            return Err(refuse(Reason::Removed, message));
        }
        Ok(from)
    }

    /// Tells a newcomer who is in the group: as the leader knows it, so that somebody who was just
    /// added finds itself, or as this member does when no leader answers, or is not to be asked.
    async fn introduce(self: &Arc<Self>, asked: MembersRequest) -> Reply {
        let newest = async {
            if let Ok(index) = self.read_index().await {
                drop(self.wait_applied(index).await);
            }
        };
        if !asked.at_once {
            drop(P::Runtime::timeout(self.settings.election_timeout, Box::pin(newest)).await);
        }
        Reply::Members(self.members_reply())
    }

    /// Takes a follower's proposal into the log, if this member leads.
    async fn take_proposal(&self, proposal: ForwardedProposal) -> Result<Reply, Refusal> {
        if self.stop.has_begun() {
            return Err(not_leader());
        }
        let within = Duration::from_millis(proposal.within_ms).min(self.settings.request_timeout);
        let deadline = InstantOf::<P>::now() + within;
        let term = Some(Term(proposal.term));
        match self.attempt(EncodedProposal(proposal.proposal), term, deadline).await {
            Attempt::Done(Ok(applied)) => {
                let index = raft_index(applied.id.index).unwrap_or(0);
                Ok(Reply::Proposed(ProposalDone { index }))
            }
            Attempt::NotLeader | Attempt::Done(Err(ProposeError::NoLeader)) => Err(not_leader()),
            Attempt::Done(Err(ProposeError::TooManyRequests)) => {
                Err(refuse(Reason::TooMany, "too many proposals in flight"))
            }
            Attempt::Done(Err(ProposeError::TimedOut | ProposeError::TimedOutLeaderChanged)) => {
                Err(refuse(Reason::TimedOut, "not applied in time"))
            }
            Attempt::Done(Err(ProposeError::Stopped)) => Err(stopping()),
        }
    }

    async fn give_read_index(&self, request: ReadIndexRequest) -> Result<Reply, Refusal> {
        let within = Duration::from_millis(request.within_ms).min(self.settings.request_timeout);
        match self.confirm_leading(InstantOf::<P>::now() + within).await {
            Ok(Some(index)) => {
                Ok(Reply::ReadIndex(ReadIndexReply { index: raft_index(index).unwrap_or(0) }))
            }
            Ok(None) | Err(ReadIndexError::LeaderChanged) => Err(not_leader()),
            Err(ReadIndexError::TimedOut) => {
                Err(refuse(Reason::TimedOut, "no quorum confirmed it in time"))
            }
            Err(ReadIndexError::Stopped) => Err(stopping()),
        }
    }

    async fn take_entries(
        self: Arc<Self>,
        mut requests: BoxStream<'static, AppendRequest>,
    ) -> BoxStream<'static, AppendReply> {
        let (instance, keeps_ms) = self.signed();
        let refused = move |refusal| {
            let outcome = Some(append_reply::Outcome::Refused(refusal));
            stream::once(async move { AppendReply { instance, keeps_ms, outcome } }).boxed()
        };
        let Some(first) = requests.next().await else { return stream::empty().boxed() };
        if let Err(refusal) = self.admit(first.hello.as_ref()).await {
            return refused(refusal);
        }
        // What cannot be read ends the stream; the sender finds its request unanswered.
        let requests = stream::once(async { first })
            .chain(requests)
            .map(wire::decode_append)
            .take_while(|decoded| futures::future::ready(decoded.is_ok()))
            .filter_map(|decoded| futures::future::ready(decoded.ok()));
        // A peer that has nothing to say would keep this member from ever being closed.
        let stop = Arc::clone(&self.stop);
        let ended = async move { stop.ended().await };
        let results = self.raft.stream_append(requests.boxed());
        results
            .take_until(ended.boxed())
            .map(move |result| {
                let Ok(result) = result else {
                    let outcome = Some(append_reply::Outcome::Refused(stopping()));
                    return AppendReply { instance, keeps_ms, outcome };
                };
                self.note_leader(&result);
                wire::encode_append_result::<P::Runtime>((instance, keeps_ms), &result)
            })
            .boxed()
    }

    /// What every answer to a leader says of this member: which instance it is, and what it promises.
    fn signed(&self) -> (u64, u64) {
        (self.peers.roster.instance(), config::promise_ms(&self.settings))
    }

    /// A leader has spoken, unless openraft knows a newer one.
    fn note_leader(&self, result: &StreamAppendResult<P::Runtime>) {
        match result {
            Ok(_) | Err(StreamAppendError::Conflict(_)) => {
                self.leadership.heard(InstantOf::<P>::now());
            }
            Err(StreamAppendError::HigherVote(_)) => {}
        }
    }
}

fn not_leader() -> Refusal {
    refuse(Reason::NotLeader, "this member does not lead")
}

pub(super) fn stopping() -> Refusal {
    refuse(Reason::Stopping, "this member stops")
}
