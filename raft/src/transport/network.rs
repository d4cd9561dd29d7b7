//! openraft's network over our links: one client per peer and purpose. `append_stream`: when a stream of appends ends.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, FuturesUnordered};
use futures::{Stream, StreamExt};
use openraft::error::ReplicationClosed;
use openraft::network::{Backoff, RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft_rt::{AsyncRuntime, Instant, Select2};
use parking_lot::Mutex;
use vetch_proto::vetchpb::peer_reply::Reply;
use vetch_proto::vetchpb::peer_request::Request;
use vetch_proto::vetchpb::{AppendReply, Refusal};
use vetch_storage::NodeId;

use super::peer::{AskError, LinkOf, Peers};
use super::wire::{self, Unreadable};
use super::{Channel, Link, LinkError};
use crate::apply::snapshot::{Snapshot, SnapshotState};
use crate::platform::Platform;
use crate::types::rpc::{
    AppendEntriesRequest, AppendEntriesResponse, NetworkError, RpcError, SnapshotResponse,
    StreamAppendResult, StreamingError, TransferLeaderRequest, TransferLeaderResponse, Unreachable,
    VoteRequest, VoteResponse,
};
use crate::types::{TypeConfig, Vote};

mod append_stream;

use append_stream::{gated, give_up_when_stalled};

type Replies<'s, R> = BoxStream<'s, Result<StreamAppendResult<R>, RpcError<R>>>;

/// openraft's factory of clients.
#[derive(Debug)]
pub(crate) struct Network<P: Platform>(pub(crate) Arc<Peers<P>>);

/// openraft's client of one peer, for one purpose.
pub(crate) struct Client<P: Platform> {
    peers: Arc<Peers<P>>,
    target: NodeId,
    purpose: Purpose,
    append: LinkOf<P>,
    control: LinkOf<P>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Replication,
    Heartbeat,
}

impl<P: Platform> Network<P> {
    fn client(&self, target: u64, purpose: Purpose) -> Client<P> {
        let (peers, target) = (Arc::clone(&self.0), NodeId(target));
        let append = peers.link(target, Channel::Append);
        let control = peers.link(target, Channel::Control);
        Client { peers, target, purpose, append, control }
    }
}

impl<P: Platform> RaftNetworkFactory<TypeConfig<P::Runtime>> for Network<P> {
    type Network = Client<P>;

    async fn new_client(&mut self, target: u64, (): &()) -> Client<P> {
        self.client(target, Purpose::Replication)
    }

    async fn new_heartbeat_client(&mut self, target: u64, (): &()) -> Client<P> {
        self.client(target, Purpose::Heartbeat)
    }
}

impl<P: Platform> Client<P> {
    async fn control(
        &self,
        request: Request,
        option: &RPCOption,
    ) -> Result<Reply, RpcError<P::Runtime>> {
        let answer = self.peers.call(&self.control, self.target, request, option.soft_ttl()).await;
        answer.map_err(|error| rpc_error(&error))
    }

    async fn heartbeat(
        &self,
        request: &AppendEntriesRequest<P::Runtime>,
        option: &RPCOption,
    ) -> Result<StreamAppendResult<P::Runtime>, RpcError<P::Runtime>> {
        let request = Request::Heartbeat(wire::encode_append(request));
        // As long as openraft waits itself: without the answer the leader would lose its quorum.
        let answer = self.ask_again(request, option.hard_ttl()).await;
        let Reply::Heartbeat(reply) = answer.map_err(|error| rpc_error(&error))? else {
            return Err(unexpected());
        };
        self.peers.note_promise(self.target, &reply);
        wire::decode_append_reply(reply).map_err(|refusal| refused_rpc(&refusal))
    }

    /// Says the same again after each interval, until there is an answer to any of it: each says that the
    /// peer was there after the first was sent. So what is lost costs an interval, and what takes longer
    /// than that under way is waited for all the same.
    async fn ask_again(&self, request: Request, within: Duration) -> Result<Reply, AskError> {
        let mut asked = FuturesUnordered::new();
        loop {
            asked.push(self.peers.call(&self.control, self.target, request.clone(), within));
            let pause = P::Runtime::sleep(self.peers.timing.heartbeat);
            if let Select2::First(Some(answer)) = P::Runtime::select2(asked.next(), pause).await {
                return answer;
            }
        }
    }

    fn replicate<S>(&self, requests: S) -> Replies<'static, P::Runtime>
    where
        S: Stream<Item = AppendEntriesRequest<P::Runtime>> + Send + Unpin + 'static,
    {
        let sent = Arc::new(Mutex::new(VecDeque::new()));
        let mut hello = Some(self.peers.roster.hello(self.target));
        let requests = requests.map({
            let sent = Arc::clone(&sent);
            move |request| {
                sent.lock().push_back(<P::Runtime as AsyncRuntime>::Instant::now());
                let mut encoded = wire::encode_append::<P::Runtime>(&request);
                encoded.hello = hello.take();
                encoded
            }
        });
        let (requests, gate) = gated(requests.boxed());
        let replies = self.append.append(requests);
        let stall = self.peers.timing.stall;
        let replies = give_up_when_stalled::<P::Runtime>(replies, sent, stall);
        let (peers, target) = (Arc::clone(&self.peers), self.target);
        replies
            .then(move |reply| {
                let (peers, _open) = (Arc::clone(&peers), &gate);
                async move { peers.appended(target, reply).await }
            })
            .boxed()
    }
}

impl<P: Platform> Peers<P> {
    async fn appended(
        &self,
        target: NodeId,
        reply: Result<AppendReply, LinkError>,
    ) -> Result<StreamAppendResult<P::Runtime>, RpcError<P::Runtime>> {
        let pause = self.pause(target);
        let reply = reply.map_err(|error| {
            pause.failed();
            rpc_error(&AskError::Link(error))
        })?;
        self.checked(target, reply.instance).await.map_err(|error| {
            pause.failed();
            rpc_error(&error)
        })?;
        self.note_promise(target, &reply);
        match wire::decode_append_reply(reply) {
            Ok(result) => {
                pause.succeeded();
                Ok(result)
            }
            Err(refusal) => {
                pause.failed();
                Err(rpc_error(&self.refused(target, refusal)))
            }
        }
    }
}

pub(super) fn rpc_error<R: AsyncRuntime>(error: &AskError) -> RpcError<R> {
    match error {
        AskError::Link(LinkError::Lost(_)) => RpcError::Network(NetworkError::new(error)),
        AskError::Link(LinkError::Unreachable(_)) | AskError::Refused(_) => {
            RpcError::Unreachable(Unreachable::new(error))
        }
    }
}

fn refused_rpc<R: AsyncRuntime>(refusal: &Refusal) -> RpcError<R> {
    rpc_error(&AskError::Refused(refusal.clone()))
}

fn unexpected<R: AsyncRuntime>() -> RpcError<R> {
    refused_rpc(&wire::unreadable(&Unreadable("the reply that was asked for")))
}

impl<P: Platform> RaftNetworkV2<TypeConfig<P::Runtime>> for Client<P> {
    type SnapshotData = SnapshotState<P::Engine>;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<P::Runtime>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<P::Runtime>, RpcError<P::Runtime>> {
        Ok(self.heartbeat(&request, &option).await?.into())
    }

    fn stream_append<S>(
        &mut self,
        mut requests: S,
        option: RPCOption,
    ) -> BoxFuture<'_, Result<Replies<'_, P::Runtime>, RpcError<P::Runtime>>>
    where
        S: Stream<Item = AppendEntriesRequest<P::Runtime>> + Send + Unpin + 'static,
    {
        Box::pin(async move {
            if self.purpose == Purpose::Heartbeat {
                let Some(request) = requests.next().await else {
                    return Ok(stream::empty().boxed());
                };
                let reply = self.heartbeat(&request, &option).await;
                return Ok(stream::once(async { reply }).boxed());
            }
            self.peers.pause(self.target).over().await;
            Ok(self.replicate(requests))
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<P::Runtime>,
        option: RPCOption,
    ) -> Result<VoteResponse<P::Runtime>, RpcError<P::Runtime>> {
        let request = Request::Vote(wire::encode_vote_request(&request));
        let Reply::Vote(reply) = self.control(request, &option).await? else {
            return Err(unexpected());
        };
        wire::decode_vote_reply(reply).map_err(|error| refused_rpc(&wire::unreadable(&error)))
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<P::Runtime>,
        option: RPCOption,
    ) -> Result<VoteResponse<P::Runtime>, RpcError<P::Runtime>> {
        let request = Request::PreVote(wire::encode_vote_request(&request));
        let Reply::Vote(reply) = self.control(request, &option).await? else {
            return Err(unexpected());
        };
        wire::decode_vote_reply(reply).map_err(|error| refused_rpc(&wire::unreadable(&error)))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        Snapshot { meta, snapshot }: Snapshot<P::Engine>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<P::Runtime>, StreamingError<P::Runtime>> {
        let SnapshotState::Pinned(view) = snapshot else {
            unreachable!("a snapshot asked for to be sent is pinned")
        };
        let fed = Box::pin(self.peers.feed(self.target, vote, meta, view));
        match P::Runtime::select2(Box::pin(cancel), fed).await {
            Select2::First(closed) => Err(StreamingError::Closed(closed)),
            Select2::Second(outcome) => outcome,
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<P::Runtime>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<P::Runtime>, RpcError<P::Runtime>> {
        let encoded = Request::Transfer(wire::encode_transfer(&request));
        let Reply::Transfer(reply) = self.control(encoded, &option).await? else {
            return Err(unexpected());
        };
        let decoded = wire::decode_transfer_reply(&request, reply);
        decoded.map_err(|error| refused_rpc(&wire::unreadable(&error)))
    }

    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(self.peers.timing.longest_pause)))
    }
}
