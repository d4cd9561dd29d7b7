//! One leader per term, votes kept, logs that match, promises kept on disk.

use std::collections::{BTreeMap, BTreeSet};

use vetch_proto::vetchpb::peer_reply::Reply;
use vetch_proto::vetchpb::peer_request::Request;
use vetch_proto::vetchpb::{
    AppendReply, AppendRequest, LogPosition, Matched, PeerReply, PeerRequest, append_reply,
};
use vetch_raft::log::reader::Listing;
use vetch_storage::{LogIndex, NodeId};

use super::state::Applies;
use crate::sim::trace::hash_of;

/// What a member told its peers, and must therefore have on disk. Positions are in the consensus
/// library's counting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promise {
    /// The newest vote it granted: term and candidate.
    pub vote: Option<(u64, u64)>,
    /// The leader's term it last answered in.
    pub term: u64,
    /// The last entry it said to have, under that leader: term (if it is known) and index.
    pub entry: Option<(u64, u64)>,
}

#[derive(Default)]
pub(super) struct Consensus {
    leaders: BTreeMap<u64, u64>,
    votes: BTreeMap<(NodeId, u64), u64>,
    /// Index, then term: hash of the entry.
    entries: BTreeMap<u64, BTreeMap<u64, u64>>,
    promises: BTreeMap<NodeId, Promise>,
    /// Members that have lost their disks.
    forgetful: BTreeSet<NodeId>,
}

impl Consensus {
    pub(super) fn newest_leader(&self) -> u64 {
        self.leaders.last_key_value().map_or(0, |(term, _)| *term)
    }

    pub(super) fn promise(&self, member: NodeId) -> Promise {
        self.promises.get(&member).copied().unwrap_or_default()
    }

    pub(super) fn forget(&mut self, member: NodeId) {
        self.promises.remove(&member);
        self.forgetful.insert(member);
    }

    /// Who has lost its disks has nothing to say: what it says it has, it may have had and lost.
    pub(super) fn took_without_memory(&self, from: NodeId, reply: &AppendReply) -> Option<String> {
        let took = matches!(&reply.outcome, Some(append_reply::Outcome::Matched(_)));
        (took && self.forgetful.contains(&from))
            .then(|| format!("member {} has lost its disks, and takes entries again", from.0))
    }

    pub(super) fn leads(&mut self, member: u64, term: u64) -> Vec<String> {
        let first = *self.leaders.entry(term).or_insert(member);
        let broken = (first != member)
            .then(|| format!("two leaders in term {term}: member {first} and member {member}"));
        broken.into_iter().collect()
    }

    pub(super) fn append_heard(
        &mut self,
        to: NodeId,
        request: &AppendRequest,
        applies: &Applies,
    ) -> Vec<String> {
        let Some(vote) = request.vote else { return Vec::new() };
        let mut broken = self.leads(vote.candidate, vote.term);
        let promise = self.promises.entry(to).or_default();
        if vote.term > promise.term {
            // A newer leader may make it drop what it had; from here on its answers count.
            (promise.term, promise.entry) = (vote.term, None);
        }
        let first = request.prev.map_or(0, |prev| prev.index + 1);
        for (at, entry) in (first..).zip(&request.entries) {
            let Some((term, index)) = identity(entry) else { continue };
            if index != at {
                broken.push(format!("entry {index} is sent as entry {at}, in term {}", vote.term));
            }
            let hash = hash_of(entry);
            let known = self.entries.entry(index).or_default().entry(term).or_insert(hash);
            if *known != hash {
                broken.push(format!("two different entries {index} of term {term}"));
            }
            if let Some((committed, seen)) = applies.committed(index)
                && vote.term > seen
                && committed != term
            {
                broken.push(format!(
                    "entry {index} of term {committed} was committed, and the leader of term {} \
                     sends one of term {term} in its place",
                    vote.term
                ));
            }
        }
        broken
    }

    /// Whether the answer is a conflict.
    pub(super) fn append_answered(
        &mut self,
        from: NodeId,
        leader: u64,
        reply: &AppendReply,
    ) -> bool {
        match &reply.outcome {
            Some(append_reply::Outcome::Matched(Matched { upto: Some(upto) })) => {
                let promise = self.promises.entry(from).or_default();
                let LogPosition { term, index } = *upto;
                // An answer to an older leader, given late, promises nothing to the newer one.
                if promise.term == leader && promise.entry.is_none_or(|(_, last)| last < index) {
                    promise.entry = Some((term, index));
                }
                false
            }
            Some(append_reply::Outcome::Conflict(_)) => true,
            Some(
                append_reply::Outcome::Matched(Matched { upto: None })
                | append_reply::Outcome::HigherVote(_)
                | append_reply::Outcome::Refused(_),
            )
            | None => false,
        }
    }

    pub(super) fn answered(
        &mut self,
        from: NodeId,
        request: &PeerRequest,
        reply: &PeerReply,
    ) -> Vec<String> {
        match (&request.request, &reply.reply) {
            (Some(Request::Vote(asked)), Some(Reply::Vote(given))) if given.granted => {
                let Some(vote) = asked.vote else { return Vec::new() };
                if self.forgetful.contains(&from) {
                    return vec![format!(
                        "member {} has lost its disks, and votes in term {}",
                        from.0, vote.term
                    )];
                }
                let promise = self.promises.entry(from).or_default();
                promise.vote = promise.vote.max(Some((vote.term, vote.candidate)));
                let first = *self.votes.entry((from, vote.term)).or_insert(vote.candidate);
                if first != vote.candidate {
                    return vec![format!(
                        "member {} voted twice in term {}: for {first} and for {}",
                        from.0, vote.term, vote.candidate
                    )];
                }
                Vec::new()
            }
            (Some(Request::Heartbeat(beat)), Some(Reply::Heartbeat(given))) => {
                let took = self.took_without_memory(from, given);
                self.append_answered(from, beat.vote.map_or(0, |vote| vote.term), given);
                took.into_iter().collect()
            }
            (Some(_) | None, Some(_) | None) => Vec::new(),
        }
    }

    /// What a member has on disk, before it starts: its log, and up to where a peer's state it put in
    /// use reaches, which is in its engine. A crash may come between that and the log's purge.
    pub(super) fn log_found(
        &self,
        member: NodeId,
        found: Option<&Listing>,
        installed: LogIndex,
    ) -> Vec<String> {
        let promise = self.promise(member);
        let mut broken = Vec::new();
        if let Some((term, candidate)) = promise.vote {
            let found = found.and_then(|log| log.vote);
            // The term's leader takes the place of a vote for somebody else: a quorum has elected it,
            // and no candidate of that term is voted for after that.
            let kept = found.is_some_and(|found| {
                let same = found.committed || found.leader_id.voted_for == candidate;
                found.leader_id.term > term || (found.leader_id.term == term && same)
            });
            if !kept {
                broken.push(format!(
                    "member {} voted for {candidate} in term {term}, and its log has {found:?}",
                    member.0
                ));
            }
        }
        if let Some((term, index)) = promise.entry {
            let last = found.and_then(|log| log.last);
            let in_log =
                last.is_some_and(|last| last.index >= index || last.leader_id.term > promise.term);
            // openraft counts entries from 0.
            let kept = in_log || installed.0 > index;
            if !kept {
                broken.push(format!(
                    "member {} said to have entry {index} of term {term} on disk, and its log ends \
                     with {last:?}",
                    member.0
                ));
            }
        }
        broken
    }
}

/// Term and index, which an encoded entry begins with.
fn identity(entry: &[u8]) -> Option<(u64, u64)> {
    let number = |at: usize| Some(u64::from_le_bytes(entry.get(at..at + 8)?.try_into().ok()?));
    Some((number(0)?, number(8)?))
}
