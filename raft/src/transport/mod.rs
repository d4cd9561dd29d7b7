//! How members reach each other.
//!
//! [`NoPeers`] is all there is for a group of one: it refuses, and says so. A transport for more
//! members takes its place as the network factory given to the group's start.

use std::future::Future;

use openraft::AsyncRuntime;
use openraft::error::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};

use crate::apply::snapshot::{Snapshot, SnapshotMark};
use crate::types::{TypeConfig, Vote};

/// The transport of a group of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoPeers;

/// A way to a peer that is not there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoWay {
    target: u64,
}

/// The refusal.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "member {target:x} is unreachable: this version runs groups of one member and has no transport"
)]
struct NoTransport {
    target: u64,
}

impl NoWay {
    fn refuse<R: AsyncRuntime>(self) -> Unreachable<TypeConfig<R>> {
        Unreachable::new(&NoTransport { target: self.target })
    }
}

impl<R: AsyncRuntime> RaftNetworkFactory<TypeConfig<R>> for NoPeers {
    type Network = NoWay;

    async fn new_client(&mut self, target: u64, (): &()) -> NoWay {
        NoWay { target }
    }
}

impl<R: AsyncRuntime> RaftNetworkV2<TypeConfig<R>> for NoWay {
    type SnapshotData = SnapshotMark;

    async fn append_entries(
        &mut self,
        _: AppendEntriesRequest<TypeConfig<R>>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig<R>>, RPCError<TypeConfig<R>>> {
        Err(RPCError::Unreachable(self.refuse()))
    }

    async fn vote(
        &mut self,
        _: VoteRequest<TypeConfig<R>>,
        _: RPCOption,
    ) -> Result<VoteResponse<TypeConfig<R>>, RPCError<TypeConfig<R>>> {
        Err(RPCError::Unreachable(self.refuse()))
    }

    async fn pre_vote(
        &mut self,
        _: VoteRequest<TypeConfig<R>>,
        _: RPCOption,
    ) -> Result<VoteResponse<TypeConfig<R>>, RPCError<TypeConfig<R>>> {
        Err(RPCError::Unreachable(self.refuse()))
    }

    async fn full_snapshot(
        &mut self,
        _: Vote,
        _: Snapshot,
        _: impl Future<Output = ReplicationClosed> + Send + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig<R>>, StreamingError<TypeConfig<R>>> {
        Err(StreamingError::Unreachable(self.refuse()))
    }
}
