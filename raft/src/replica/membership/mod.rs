//! Who is in the group: changes of it, one member at a time.
//!
//! - `rules`: what etcd allows, decided on plain data. `change`: carried out by the leader. `ask`: by
//!   way of the leader, from any member. `tend`: what follows a change by itself.
//!
//! A change is one log entry, which holds the sets of voters and learners and what becomes of the member
//! table. Joint consensus is not needed for one member at a time, and not exposed.
//!
//! **A voter counts when it is there.** openraft's sets bind from the moment an entry is in the log. A
//! new voter that has never run would be waited for at once: a group of one could not even commit its
//! coming. It is therefore added to the table as a voter, as clients see it, and to the log's sets
//! as a learner; the leader makes it vote when it has caught up. etcd, whose sets bind when they are
//! applied, stands still from then until the new member runs.

mod ask;
mod change;
pub(crate) mod rules;
mod tend;

use vetch_proto::etcdserverpb::MemberUpdateRequest;
use vetch_proto::vetchpb::AddMember;
use vetch_proto::vetchpb::member_change_reply::Refused;
use vetch_proto::vetchpb::member_change_request::Change as WireChange;
use vetch_storage::NodeId;

pub(super) use tend::tend;

/// One change of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// A new member, which has never run.
    Add {
        /// Never used before in this cluster.
        id: NodeId,
        /// Where peers will reach it; no other member's.
        peer_urls: Vec<String>,
        /// It follows, but neither votes nor counts.
        learner: bool,
    },
    /// The learner becomes a voter.
    Promote(NodeId),
    /// The member leaves for good.
    Remove(NodeId),
    /// The member is reached elsewhere.
    Update {
        /// The member.
        id: NodeId,
        /// No other member's.
        peer_urls: Vec<String>,
    },
}

impl MemberChange {
    /// Whom it is about.
    pub(super) const fn member(&self) -> NodeId {
        match self {
            Self::Add { id, .. }
            | Self::Promote(id)
            | Self::Remove(id)
            | Self::Update { id, .. } => *id,
        }
    }
}

/// What the operator allows; the rules of the member that is asked hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberRules {
    /// `--strict-reconfig-check`: a change must leave a quorum of members that run.
    pub strict: bool,
    /// `--max-learners`.
    pub max_learners: u64,
}

impl MemberRules {
    /// Whether a change is allowed to a group only that can go on after it.
    const fn asks_for_health(self, change: &MemberChange) -> bool {
        match change {
            MemberChange::Add { learner, .. } => self.strict && !*learner,
            MemberChange::Remove(_) => self.strict,
            MemberChange::Promote(_) | MemberChange::Update { .. } => false,
        }
    }
}

impl Default for MemberRules {
    fn default() -> Self {
        Self { strict: true, max_learners: 1 }
    }
}

/// Why the group was not changed, or may not have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemberChangeError {
    /// Another member has this id.
    #[error("a member has this id already")]
    IdExists,
    /// Another member is reached at one of the peer URLs.
    #[error("a member has one of these peer URLs already")]
    PeerUrlExists,
    /// No member has this id; perhaps one had.
    #[error("member not found")]
    NotFound,
    /// Only a learner can be promoted.
    #[error("the member is no learner")]
    NotLearner,
    /// The learner has too little of the log to be promoted.
    #[error("the learner is not in sync with the leader")]
    LearnerNotReady,
    /// There are as many learners as are allowed.
    #[error("too many learners")]
    TooManyLearners,
    /// Afterwards too few of the voters would ever have run.
    #[error("not enough started members")]
    NotEnoughStarted,
    /// Too few of the voters are reached now.
    #[error("unhealthy cluster")]
    Unhealthy,
    /// No leader took it in time. Nothing was changed.
    #[error("no leader")]
    NoLeader,
    /// It was not applied in time, and **may still be**.
    #[error("timed out")]
    TimedOut,
    /// As `TimedOut`, and leadership changed meanwhile.
    #[error("timed out around a leader change")]
    TimedOutLeaderChanged,
    /// The node is stopping. It **may still be applied**.
    #[error("stopped")]
    Stopped,
}

impl MemberChangeError {
    /// The leader's no, on the wire; `None` for what each member finds out for itself.
    fn refused(self) -> Option<Refused> {
        Some(match self {
            Self::IdExists => Refused::IdExists,
            Self::PeerUrlExists => Refused::PeerUrlExists,
            Self::NotFound => Refused::NotFound,
            Self::NotLearner => Refused::NotLearner,
            Self::LearnerNotReady => Refused::LearnerNotReady,
            Self::TooManyLearners => Refused::TooManyLearners,
            Self::NotEnoughStarted => Refused::NotEnoughStarted,
            Self::Unhealthy => Refused::Unhealthy,
            Self::NoLeader | Self::TimedOut | Self::TimedOutLeaderChanged | Self::Stopped => {
                return None;
            }
        })
    }

    fn of(refused: Refused) -> Option<Self> {
        Some(match refused {
            Refused::Unspecified => return None,
            Refused::IdExists => Self::IdExists,
            Refused::PeerUrlExists => Self::PeerUrlExists,
            Refused::NotFound => Self::NotFound,
            Refused::NotLearner => Self::NotLearner,
            Refused::LearnerNotReady => Self::LearnerNotReady,
            Refused::TooManyLearners => Self::TooManyLearners,
            Refused::NotEnoughStarted => Self::NotEnoughStarted,
            Refused::Unhealthy => Self::Unhealthy,
        })
    }
}

fn encode(change: &MemberChange) -> WireChange {
    match change.clone() {
        MemberChange::Add { id, peer_urls, learner } => {
            WireChange::Add(AddMember { id: id.0, peer_urls, learner })
        }
        MemberChange::Promote(id) => WireChange::Promote(id.0),
        MemberChange::Remove(id) => WireChange::Remove(id.0),
        MemberChange::Update { id, peer_urls } => {
            WireChange::Update(MemberUpdateRequest { id: id.0, peer_ur_ls: peer_urls })
        }
    }
}

fn decode(change: WireChange) -> MemberChange {
    match change {
        WireChange::Add(AddMember { id, peer_urls, learner }) => {
            MemberChange::Add { id: NodeId(id), peer_urls, learner }
        }
        WireChange::Promote(id) => MemberChange::Promote(NodeId(id)),
        WireChange::Remove(id) => MemberChange::Remove(NodeId(id)),
        WireChange::Update(MemberUpdateRequest { id, peer_ur_ls }) => {
            MemberChange::Update { id: NodeId(id), peer_urls: peer_ur_ls }
        }
    }
}
