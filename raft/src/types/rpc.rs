//! openraft's messages, with our types filled in.

use openraft::raft;

use super::TypeConfig;

/// Entries for a follower, or a heartbeat.
pub(crate) type AppendEntriesRequest<R> = raft::AppendEntriesRequest<TypeConfig<R>>;
/// What became of one such request, alone.
pub(crate) type AppendEntriesResponse<R> = raft::AppendEntriesResponse<TypeConfig<R>>;
/// What became of one such request, among others.
pub(crate) type StreamAppendResult<R> = raft::StreamAppendResult<TypeConfig<R>>;
/// Why a follower took no entries.
pub(crate) type StreamAppendError<R> = raft::StreamAppendError<TypeConfig<R>>;
/// A candidate's request.
pub(crate) type VoteRequest<R> = raft::VoteRequest<TypeConfig<R>>;
/// A voter's answer.
pub(crate) type VoteResponse<R> = raft::VoteResponse<TypeConfig<R>>;
/// A leader's wish that another member lead.
pub(crate) type TransferLeaderRequest<R> = raft::TransferLeaderRequest<TypeConfig<R>>;
/// Whether that member can.
pub(crate) type TransferLeaderResponse<R> = raft::TransferLeaderResponse<TypeConfig<R>>;
/// Why it cannot.
pub(crate) type TransferLeaderError<R> = raft::TransferLeaderError<TypeConfig<R>>;
/// A snapshot's receipt.
pub(crate) type SnapshotResponse<R> = raft::SnapshotResponse<TypeConfig<R>>;
/// Why a peer gave no answer.
pub(crate) type RpcError<R> = openraft::error::RPCError<TypeConfig<R>>;
/// As above, for a transfer of many pieces.
pub(crate) type StreamingError<R> = openraft::error::StreamingError<TypeConfig<R>>;
/// The peer cannot be reached for now.
pub(crate) type Unreachable<R> = openraft::error::Unreachable<TypeConfig<R>>;
/// The connection broke.
pub(crate) type NetworkError<R> = openraft::error::NetworkError<TypeConfig<R>>;
