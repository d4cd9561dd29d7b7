//! The one table from what can be refused to etcd's gRPC code and text.

use tonic::{Code, Status};
use vetch_raft::{MemberChangeError, ProposeError, ReadIndexError, TransferError};
use vetch_storage::ApplyError;

/// Every answer other than success.
///
/// Variants of this crate's own are named for the fact; [`Refusal::code_and_text`] alone knows how
/// etcd says it.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// A key is required and empty.
    EmptyKey,
    /// `ignore_value` together with a value.
    ValueProvided,
    /// `ignore_lease` together with a lease.
    LeaseProvided,
    /// A list of a transaction is longer than `--max-txn-ops` allows at its depth.
    TooManyOps,
    /// One branch puts a key twice, or puts what it deletes.
    DuplicateKey,
    /// A sort order or target outside the enum.
    InvalidSortOption,
    /// A transaction's operation names no request.
    EmptyOperation,
    /// An alarm action outside the enum.
    InvalidAlarmAction,
    /// The proposal is larger than `--max-request-bytes`.
    RequestTooLarge,
    /// A lease longer than etcd takes.
    LeaseTtlTooLarge,
    /// KeepAlive, TimeToLive or Revoke of a lease that is not there.
    LeaseNotFound,
    /// The store is at its quota.
    NoSpace,
    /// The request asked for `hasleader`, and there is none.
    NoLeader,
    /// A learner does not answer this.
    NotForLearner,
    /// A member's peer URLs are missing, or not URLs.
    BadMemberUrls,
    /// The cluster was not changed.
    Member(MemberChangeError),
    /// The metadata `client-api-version` is not text.
    InvalidClientApiVersion,
    /// RangeStream with an order other than ascending keys.
    StreamSortOrder,
    /// RangeStream with a minimum or maximum revision.
    StreamRevisionFilter,
    /// All memory that large answers may use is in use.
    AnswerBudgetExhausted,
    /// An answer would be larger than a gRPC message can be.
    AnswerTooLarge,
    /// A health check of a service that is not served.
    UnknownService,
    /// A call this version of Vetch does not have; says which.
    NotBuilt(&'static str),
    /// The state machine's deterministic refusal.
    Apply(ApplyError),
    /// The proposal has no result.
    Propose(ProposeError),
    /// What is committed was not applied in time, so a lease's state is not known.
    AppliedTooLate,
    /// Leadership did not move.
    Transfer(TransferError),
    /// The linearizable read has no read index.
    ReadIndex(ReadIndexError),
    /// The node is stopping, for whatever reason; its log says which.
    Stopped,
}

impl Refusal {
    /// What goes on the wire.
    pub fn code_and_text(&self) -> (Code, &'static str) {
        match self {
            Self::EmptyKey => (Code::InvalidArgument, "etcdserver: key is not provided"),
            Self::ValueProvided => (Code::InvalidArgument, "etcdserver: value is provided"),
            Self::LeaseProvided => (Code::InvalidArgument, "etcdserver: lease is provided"),
            Self::TooManyOps => {
                (Code::InvalidArgument, "etcdserver: too many operations in txn request")
            }
            Self::DuplicateKey => {
                (Code::InvalidArgument, "etcdserver: duplicate key given in txn request")
            }
            Self::InvalidSortOption => (Code::InvalidArgument, "etcdserver: invalid sort option"),
            Self::EmptyOperation => (Code::InvalidArgument, "etcdserver: key not found"),
            Self::InvalidAlarmAction => (Code::InvalidArgument, "vetch: unknown alarm action"),
            Self::RequestTooLarge => (Code::InvalidArgument, "etcdserver: request is too large"),
            Self::LeaseTtlTooLarge => (Code::OutOfRange, "etcdserver: too large lease TTL"),
            Self::LeaseNotFound => (Code::NotFound, "etcdserver: requested lease not found"),
            Self::NoSpace => (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
            Self::NoLeader => (Code::Unavailable, "etcdserver: no leader"),
            Self::NotForLearner => {
                (Code::FailedPrecondition, "etcdserver: rpc not supported for learner")
            }
            Self::BadMemberUrls => {
                (Code::InvalidArgument, "etcdserver: given member URLs are invalid")
            }
            Self::Member(error) => member(*error),
            Self::InvalidClientApiVersion => {
                (Code::InvalidArgument, "etcdserver: invalid client api version")
            }
            Self::StreamSortOrder => {
                (Code::Unimplemented, "RangeStream does not support custom sort orders")
            }
            Self::StreamRevisionFilter => {
                (Code::Unimplemented, "RangeStream does not support revision filters")
            }
            Self::AnswerBudgetExhausted => (
                Code::ResourceExhausted,
                "vetch: too many large answers at once; ask for pages with limit, or retry",
            ),
            Self::AnswerTooLarge => (
                Code::OutOfRange,
                "vetch: the answer exceeds 4 GiB; ask for pages with limit, or use RangeStream",
            ),
            Self::UnknownService => (Code::NotFound, "unknown service"),
            Self::NotBuilt(sentence) => (Code::Unimplemented, sentence),
            Self::Apply(error) => apply(error),
            Self::Propose(error) => propose(error),
            Self::AppliedTooLate => (
                Code::Unavailable,
                "etcdserver: request timed out, waiting for the applied index took too long",
            ),
            Self::Transfer(error) => transfer(*error),
            Self::ReadIndex(error) => read_index(error),
            Self::Stopped => (Code::Unavailable, "etcdserver: server stopped"),
        }
    }
}

fn apply(error: &ApplyError) -> (Code, &'static str) {
    match error {
        ApplyError::Compacted { .. } => {
            (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted")
        }
        ApplyError::FutureRevision { .. } => {
            (Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision")
        }
        ApplyError::KeyNotFound => (Code::InvalidArgument, "etcdserver: key not found"),
        ApplyError::LeaseNotFound(_) => (Code::NotFound, "etcdserver: requested lease not found"),
        ApplyError::LeaseExists(_) => {
            (Code::FailedPrecondition, "etcdserver: lease already exists")
        }
        ApplyError::NoSpace => {
            (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded")
        }
        ApplyError::Corrupt => (Code::DataLoss, "etcdserver: corrupt cluster"),
        ApplyError::StaleTerm => (Code::Unavailable, "etcdserver: leader changed"),
    }
}

fn propose(error: &ProposeError) -> (Code, &'static str) {
    match error {
        // etcd declares ResourceExhausted and sends Unknown; its clients match the text.
        ProposeError::TooManyRequests => (Code::Unknown, "etcdserver: too many requests"),
        ProposeError::NoLeader => (Code::DeadlineExceeded, "context deadline exceeded"),
        ProposeError::TimedOut => (Code::Unavailable, "etcdserver: request timed out"),
        ProposeError::TimedOutLeaderChanged => (
            Code::Unavailable,
            "etcdserver: request timed out, possibly due to previous leader failure",
        ),
        ProposeError::Stopped => (Code::Unavailable, "etcdserver: server stopped"),
    }
}

fn member(error: MemberChangeError) -> (Code, &'static str) {
    match error {
        MemberChangeError::IdExists => {
            (Code::FailedPrecondition, "etcdserver: member ID already exist")
        }
        MemberChangeError::PeerUrlExists => {
            (Code::FailedPrecondition, "etcdserver: Peer URLs already exists")
        }
        MemberChangeError::NotFound => (Code::NotFound, "etcdserver: member not found"),
        MemberChangeError::NotLearner => {
            (Code::FailedPrecondition, "etcdserver: can only promote a learner member")
        }
        MemberChangeError::LearnerNotReady => (
            Code::FailedPrecondition,
            "etcdserver: can only promote a learner member which is in sync with leader",
        ),
        MemberChangeError::TooManyLearners => {
            (Code::FailedPrecondition, "etcdserver: too many learner members in cluster")
        }
        // etcd declares FailedPrecondition and sends Unknown; its clients match the text.
        MemberChangeError::NotEnoughStarted => {
            (Code::Unknown, "etcdserver: re-configuration failed due to not enough started members")
        }
        MemberChangeError::Unhealthy => (Code::Unavailable, "etcdserver: unhealthy cluster"),
        MemberChangeError::NoLeader => propose(&ProposeError::NoLeader),
        MemberChangeError::TimedOut => propose(&ProposeError::TimedOut),
        MemberChangeError::TimedOutLeaderChanged => propose(&ProposeError::TimedOutLeaderChanged),
        MemberChangeError::Stopped => propose(&ProposeError::Stopped),
    }
}

fn transfer(error: TransferError) -> (Code, &'static str) {
    match error {
        TransferError::NotLeader => (Code::FailedPrecondition, "etcdserver: not leader"),
        TransferError::NoVoter => (Code::FailedPrecondition, "etcdserver: bad leader transferee"),
        // etcd begins all the same, and has no leader for a while.
        TransferError::NotReady => (
            Code::Unavailable,
            "vetch: the target cannot lead now: it was not heard from lately, or is far behind",
        ),
        TransferError::TimedOut => {
            (Code::Unknown, "etcdserver: request timed out, leader transfer took too long")
        }
        TransferError::Stopped => (Code::Unavailable, "etcdserver: server stopped"),
    }
}

fn read_index(error: &ReadIndexError) -> (Code, &'static str) {
    match error {
        ReadIndexError::LeaderChanged => (Code::Unavailable, "etcdserver: leader changed"),
        ReadIndexError::TimedOut => (Code::Unavailable, "etcdserver: request timed out"),
        ReadIndexError::Stopped => (Code::Unavailable, "etcdserver: server stopped"),
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let (code, text) = refusal.code_and_text();
        Self::new(code, text)
    }
}

impl From<ApplyError> for Refusal {
    fn from(error: ApplyError) -> Self {
        Self::Apply(error)
    }
}

impl From<ProposeError> for Refusal {
    fn from(error: ProposeError) -> Self {
        Self::Propose(error)
    }
}

impl From<MemberChangeError> for Refusal {
    fn from(error: MemberChangeError) -> Self {
        Self::Member(error)
    }
}

impl From<TransferError> for Refusal {
    fn from(error: TransferError) -> Self {
        Self::Transfer(error)
    }
}

impl From<ReadIndexError> for Refusal {
    fn from(error: ReadIndexError) -> Self {
        Self::ReadIndex(error)
    }
}
