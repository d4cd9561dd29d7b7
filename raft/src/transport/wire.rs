//! openraft's messages as `vetchpb`'s, and back. Decoders refuse what is missing.

use bytes::Bytes;
use openraft::AsyncRuntime;
use openraft::vote::RaftLeaderId;
use vetch_proto::vetchpb::{
    self, AppendReply, AppendRequest, LogPosition, Matched, PeerVote, Refusal, SnapshotRequest,
    TransferReply, TransferRequest, VoteReply, append_reply, refusal, transfer_reply,
};
use vetch_storage::NodeId;

use crate::apply::snapshot::Meta;
use crate::log::codec::{decode_entry, encode_entry, entry_size};
use crate::types::membership::{decode_membership, encode_membership};
use crate::types::rpc::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderError,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use crate::types::{CommittedLeaderId, Entry, LeaderId, RaftLogId, StoredMembership, Vote};

/// A message that this version cannot read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a peer's message lacks {0}, or holds one that cannot be read")]
pub(crate) struct Unreadable(pub(crate) &'static str);

pub(crate) fn encode_vote(vote: &Vote) -> PeerVote {
    let LeaderId { term, voted_for } = vote.leader_id;
    PeerVote { term, candidate: voted_for, committed: vote.committed }
}

pub(crate) fn decode_vote(vote: Option<PeerVote>) -> Result<Vote, Unreadable> {
    let PeerVote { term, candidate, committed } = vote.ok_or(Unreadable("its vote"))?;
    Ok(Vote { leader_id: LeaderId::new(term, candidate), committed })
}

pub(crate) fn encode_position(id: &RaftLogId) -> LogPosition {
    LogPosition { term: id.leader_id.term, index: id.index }
}

pub(crate) fn decode_position(position: LogPosition) -> RaftLogId {
    RaftLogId::new(CommittedLeaderId::new(position.term), position.index)
}

fn encode_entry_bytes(entry: &Entry) -> Bytes {
    let mut out = Vec::with_capacity(entry_size(entry));
    encode_entry(entry, &mut out);
    out.into()
}

pub(crate) fn encode_append<R: AsyncRuntime>(request: &AppendEntriesRequest<R>) -> AppendRequest {
    AppendRequest {
        hello: None,
        vote: Some(encode_vote(&request.vote)),
        prev: request.prev_log_id.as_ref().map(encode_position),
        entries: request.entries.iter().map(encode_entry_bytes).collect(),
        commit: request.leader_commit.as_ref().map(encode_position),
    }
}

pub(crate) fn decode_append<R: AsyncRuntime>(
    request: AppendRequest,
) -> Result<AppendEntriesRequest<R>, Unreadable> {
    let AppendRequest { vote, prev, entries, commit, .. } = request;
    let entries: Option<Vec<Entry>> = entries.iter().map(decode_entry).collect();
    Ok(AppendEntriesRequest {
        vote: decode_vote(vote)?,
        prev_log_id: prev.map(decode_position),
        entries: entries.ok_or(Unreadable("an entry"))?,
        leader_commit: commit.map(decode_position),
    })
}

/// The reply of a member with this instance that makes this promise.
pub(crate) fn encode_append_result<R: AsyncRuntime>(
    (instance, keeps_ms): (u64, u64),
    result: &StreamAppendResult<R>,
) -> AppendReply {
    let outcome = match result {
        Ok(upto) => {
            append_reply::Outcome::Matched(Matched { upto: upto.as_ref().map(encode_position) })
        }
        Err(StreamAppendError::Conflict(at)) => {
            append_reply::Outcome::Conflict(encode_position(at))
        }
        Err(StreamAppendError::HigherVote(vote)) => {
            append_reply::Outcome::HigherVote(encode_vote(vote))
        }
    };
    AppendReply { instance, keeps_ms, outcome: Some(outcome) }
}

/// A reply's outcome: openraft's, or the peer's refusal.
pub(crate) fn decode_append_reply<R: AsyncRuntime>(
    reply: AppendReply,
) -> Result<StreamAppendResult<R>, Refusal> {
    match reply.outcome {
        Some(append_reply::Outcome::Matched(Matched { upto })) => Ok(Ok(upto.map(decode_position))),
        Some(append_reply::Outcome::Conflict(at)) => {
            Ok(Err(StreamAppendError::Conflict(decode_position(at))))
        }
        Some(append_reply::Outcome::HigherVote(vote)) => {
            let vote = decode_vote(Some(vote)).map_err(|error| unreadable(&error))?;
            Ok(Err(StreamAppendError::HigherVote(vote)))
        }
        Some(append_reply::Outcome::Refused(refusal)) => Err(refusal),
        None => Err(unreadable(&Unreadable("its outcome"))),
    }
}

pub(crate) fn encode_vote_request<R: AsyncRuntime>(
    request: &VoteRequest<R>,
) -> vetchpb::VoteRequest {
    vetchpb::VoteRequest {
        vote: Some(encode_vote(&request.vote)),
        last: request.last_log_id.as_ref().map(encode_position),
        transfer: request.leadership_transfer,
    }
}

pub(crate) fn decode_vote_request<R: AsyncRuntime>(
    request: vetchpb::VoteRequest,
) -> Result<VoteRequest<R>, Unreadable> {
    let vote = decode_vote(request.vote)?;
    let mut decoded = VoteRequest::new(vote, request.last.map(decode_position));
    decoded.leadership_transfer = request.transfer;
    Ok(decoded)
}

pub(crate) fn encode_vote_response<R: AsyncRuntime>(response: &VoteResponse<R>) -> VoteReply {
    VoteReply {
        vote: Some(encode_vote(&response.vote)),
        granted: response.vote_granted,
        last: response.last_log_id.as_ref().map(encode_position),
    }
}

pub(crate) fn decode_vote_reply<R: AsyncRuntime>(
    reply: VoteReply,
) -> Result<VoteResponse<R>, Unreadable> {
    let vote = decode_vote(reply.vote)?;
    Ok(VoteResponse::new(vote, reply.last.map(decode_position), reply.granted))
}

pub(crate) fn encode_transfer<R: AsyncRuntime>(
    request: &TransferLeaderRequest<R>,
) -> TransferRequest {
    TransferRequest {
        leader: Some(encode_vote(request.from_leader())),
        to: *request.to_node_id(),
        last: request.last_log_id().map(encode_position),
    }
}

pub(crate) fn decode_transfer<R: AsyncRuntime>(
    request: TransferRequest,
) -> Result<TransferLeaderRequest<R>, Unreadable> {
    let leader = decode_vote(request.leader)?;
    Ok(TransferLeaderRequest::new(leader, request.to, request.last.map(decode_position)))
}

pub(crate) fn encode_transfer_response<R: AsyncRuntime>(
    response: &TransferLeaderResponse<R>,
) -> TransferReply {
    use transfer_reply::Outcome;
    let outcome = match response {
        Ok(()) => None,
        Err(TransferLeaderError::VoteChanged { actual, .. }) => {
            Some(Outcome::VoteChanged(encode_vote(actual)))
        }
        Err(TransferLeaderError::LogNotFlushed { actual: Some(at), .. }) => {
            Some(Outcome::NotFlushed(encode_position(at)))
        }
        Err(TransferLeaderError::LogNotFlushed { actual: None, .. }) => {
            Some(Outcome::NothingFlushed(true))
        }
    };
    TransferReply { outcome }
}

/// The reply to `request`.
pub(crate) fn decode_transfer_reply<R: AsyncRuntime>(
    request: &TransferLeaderRequest<R>,
    reply: TransferReply,
) -> Result<TransferLeaderResponse<R>, Unreadable> {
    use transfer_reply::Outcome;
    let not_flushed = |actual| TransferLeaderError::LogNotFlushed {
        expected: request.last_log_id().copied(),
        actual,
    };
    Ok(match reply.outcome {
        None => Ok(()),
        Some(Outcome::VoteChanged(vote)) => Err(TransferLeaderError::VoteChanged {
            expected: *request.from_leader(),
            actual: decode_vote(Some(vote))?,
        }),
        Some(Outcome::NotFlushed(at)) => Err(not_flushed(Some(decode_position(at)))),
        Some(Outcome::NothingFlushed(_)) => Err(not_flushed(None)),
    })
}

/// What a state that is sent is, besides its bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Offer {
    pub(crate) vote: Vote,
    pub(crate) transfer: u64,
    pub(crate) meta: Meta,
    pub(crate) digest: u64,
}

impl Offer {
    /// The leader whose state it is.
    pub(crate) fn sender(&self) -> NodeId {
        NodeId(self.vote.leader_id.voted_for)
    }
}

pub(crate) fn encode_chunk(offer: &Offer, chunk: u32, contents: Bytes) -> SnapshotRequest {
    let membership = &offer.meta.last_membership;
    SnapshotRequest {
        vote: Some(encode_vote(&offer.vote)),
        transfer: offer.transfer,
        last: offer.meta.last_log_id.as_ref().map(encode_position),
        membership: encode_membership(membership.membership()),
        membership_at: membership.log_id().as_ref().map(encode_position),
        digest: offer.digest,
        chunk,
        contents,
    }
}

pub(crate) fn decode_offer(request: &SnapshotRequest) -> Result<Offer, Unreadable> {
    let last = request.last.ok_or(Unreadable("its last entry"))?;
    let membership = decode_membership(request.membership.clone());
    let membership = membership.map_err(|_invalid| Unreadable("its membership"))?;
    let at = request.membership_at.map(decode_position);
    let meta = Meta {
        last_log_id: Some(decode_position(last)),
        last_membership: StoredMembership::new(at, membership),
    };
    let vote = decode_vote(request.vote)?;
    Ok(Offer { vote, transfer: request.transfer, meta, digest: request.digest })
}

pub(crate) fn unreadable(error: &Unreadable) -> Refusal {
    refuse(refusal::Reason::Unreadable, error.to_string())
}

pub(crate) fn refuse(reason: refusal::Reason, message: impl Into<String>) -> Refusal {
    Refusal { reason: reason.into(), message: message.into() }
}
