//! openraft's generics end here: one type configuration, and the names the rest of the crate uses.
//!
//! openraft counts entries from 0 and calls "before the log" `None`; the state machine counts from 1
//! and calls it 0. [`log_index`] and [`raft_index`] are the only places that know the offset.
//!
//! - [`cause`]: how this node's own errors travel through openraft and come out whole.
//! - [`membership`]: the voter set's encoding beside the data.
//! - [`responder`]: how openraft answers a waiting proposer.
//! - `rpc`: the messages between members.

use std::cmp::Ordering;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use openraft::entry::RaftPayload;
use openraft::impls::{InlineBatch, leader_id_std};
use openraft::{AsyncRuntime, OptionalSend, RaftTypeConfig};
use vetch_storage::{Applied, LogIndex};

pub mod cause;
pub mod membership;
pub mod responder;
pub(crate) mod rpc;

pub use cause::Cause;
pub use responder::Waiter;

/// The group's types, over the runtime `R` (tokio, or the simulator's virtual one).
pub struct TypeConfig<R>(PhantomData<fn() -> R>);

impl<R> fmt::Debug for TypeConfig<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TypeConfig")
    }
}

impl<R> Clone for TypeConfig<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for TypeConfig<R> {}

impl<R> Default for TypeConfig<R> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<R> PartialEq for TypeConfig<R> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<R> Eq for TypeConfig<R> {}

impl<R> PartialOrd for TypeConfig<R> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<R> Ord for TypeConfig<R> {
    fn cmp(&self, _: &Self) -> Ordering {
        Ordering::Equal
    }
}

impl<R: AsyncRuntime + 'static> RaftTypeConfig for TypeConfig<R> {
    type D = EncodedProposal;
    type R = Arc<Applied>;
    type NodeId = u64;
    type Node = ();
    type Term = u64;
    type LeaderId = LeaderId;
    type Vote = Vote;
    type Payload = Payload;
    type Entry = Entry;
    type AsyncRuntime = R;
    type Responder<T>
        = Waiter<T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = Cause;
}

/// A candidate or leader: one leader per term, as etcd's `raft_term` needs.
pub type LeaderId = leader_id_std::LeaderId<u64, u64>;
/// What an entry keeps of its leader: the term.
pub type CommittedLeaderId = openraft::vote::leader_id_std::CommittedLeaderId<u64>;
/// An entry's identity in openraft's counting.
pub type RaftLogId = openraft::LogId<CommittedLeaderId>;
/// The term and candidate this member has voted for.
pub type Vote = openraft::impls::Vote<LeaderId>;
/// The voter and learner sets; addresses live in the replicated member table.
pub type Membership = openraft::Membership<u64, ()>;
/// A membership and the entry that brought it.
pub type StoredMembership = openraft::StoredMembership<CommittedLeaderId, u64, ()>;
/// One log entry.
pub type Entry = openraft::impls::Entry<CommittedLeaderId, Payload>;

/// A `vetchpb.Proposal`, encoded once by its proposer; the log and the transport only copy it. Decoded
/// where it is applied, on the proposing member too: what is applied is what the log holds, never a
/// struct that only one member had.
#[derive(Clone, PartialEq, Eq)]
pub struct EncodedProposal(pub Bytes);

impl fmt::Debug for EncodedProposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncodedProposal({} bytes)", self.0.len())
    }
}

impl fmt::Display for EncodedProposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "proposal of {} bytes", self.0.len())
    }
}

/// What an entry carries. Our own type, because openraft's drops application data when it makes an
/// entry a membership change, and ours carries the etcd member record there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A leader's first entry of its term.
    Blank,
    /// A command for the state machine.
    Proposal(EncodedProposal),
    /// A change of the voter or learner set.
    Membership {
        /// The sets from this entry on.
        membership: Membership,
        /// An encoded `vetchpb.MemberRecord`, when the change adds or alters a member.
        record: Option<Bytes>,
    },
}

impl Payload {
    /// The base of a membership change that carries a member's record: openraft fills in the sets.
    pub fn with_member_record(record: Bytes) -> Self {
        Self::Membership { membership: Membership::default(), record: Some(record) }
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => f.write_str("blank"),
            Self::Proposal(proposal) => fmt::Display::fmt(proposal, f),
            Self::Membership { membership, record: None } => write!(f, "membership {membership}"),
            Self::Membership { membership, record: Some(record) } => {
                write!(f, "membership {membership} with a record of {} bytes", record.len())
            }
        }
    }
}

impl RaftPayload for Payload {
    type D = EncodedProposal;
    type NodeId = u64;
    type Node = ();

    fn blank() -> Self {
        Self::Blank
    }

    fn with_normal(self, data: EncodedProposal) -> Self {
        Self::Proposal(data)
    }

    fn with_membership(self, membership: Membership) -> Self {
        match self {
            Self::Membership { record, .. } => Self::Membership { membership, record },
            Self::Blank | Self::Proposal(_) => Self::Membership { membership, record: None },
        }
    }

    fn get_membership(&self) -> Option<Membership> {
        match self {
            Self::Membership { membership, .. } => Some(membership.clone()),
            Self::Blank | Self::Proposal(_) => None,
        }
    }
}

/// The state machine's position of openraft's entry `index`.
pub const fn log_index(index: u64) -> LogIndex {
    LogIndex(index + 1)
}

/// openraft's index of the state machine's position; `None` before the log.
pub const fn raft_index(index: LogIndex) -> Option<u64> {
    index.0.checked_sub(1)
}

/// The state machine's identity of an entry.
pub fn log_id(id: &RaftLogId) -> vetch_storage::LogId {
    vetch_storage::LogId {
        term: vetch_storage::Term(id.leader_id.term),
        index: log_index(id.index),
    }
}

/// openraft's identity of an entry; `None` before the log.
pub fn raft_log_id(id: vetch_storage::LogId) -> Option<RaftLogId> {
    let index = raft_index(id.index)?;
    Some(RaftLogId::new(CommittedLeaderId::new(id.term.0), index))
}
