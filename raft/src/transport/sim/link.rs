//! One member's way to another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use openraft_rt::AsyncRuntime;
use openraft_rt_sim::SimRuntime;
use vetch_proto::vetchpb::peer_request::Request;
use vetch_proto::vetchpb::{AppendReply, AppendRequest, PeerReply, PeerRequest};
use vetch_storage::NodeId;

use super::carry::carry;
use super::network::{Fate, Member, SimNetwork};
use crate::transport::{Link, LinkError};

/// A way to one simulated member.
#[derive(Clone, Debug)]
pub struct SimLink {
    pub(super) network: SimNetwork,
    pub(super) machine: Arc<AtomicBool>,
    pub(super) target: NodeId,
}

impl SimLink {
    /// The other end after one way there, if it can be reached and hears it.
    async fn arrive(&self, from: NodeId, fate: &Fate) -> Result<Arc<Member>, LinkError> {
        SimRuntime::sleep_until(fate.arrives).await;
        self.pass(from, self.target, fate).await;
        let down = || LinkError::Unreachable(format!("member {:x} is down", self.target.0));
        self.network.member(self.target).ok_or_else(down)
    }

    /// Pending for ever when the message of `fate` is lost between `from` and `to`.
    async fn pass(&self, from: NodeId, to: NodeId, fate: &Fate) {
        let alive = self.machine.load(Ordering::Acquire);
        if fate.lost || !alive || self.network.is_cut(from, to) {
            std::future::pending::<()>().await;
        }
    }

    async fn exchange(
        self,
        from: NodeId,
        mut request: PeerRequest,
    ) -> Result<PeerReply, LinkError> {
        let there = self.network.fate();
        self.network.maybe_damage(&mut request);
        let member = self.arrive(from, &there).await?;
        if there.doubled && is_idempotent(&request) {
            let again = member.service.call(request.clone());
            drop(SimRuntime::spawn(again));
        }
        let reply = member.service.call(request).await;
        let back = self.network.fate();
        SimRuntime::sleep_until(back.arrives).await;
        if !member.machine.load(Ordering::Acquire) {
            std::future::pending::<()>().await;
        }
        self.pass(self.target, from, &back).await;
        Ok(reply)
    }
}

/// Whether hearing it twice does what hearing it once does.
fn is_idempotent(request: &PeerRequest) -> bool {
    match request.request {
        Some(
            Request::Heartbeat(_)
            | Request::Vote(_)
            | Request::PreVote(_)
            | Request::ReadIndex(_)
            | Request::Snapshot(_)
            | Request::Members(_)
            | Request::Ask(_)
            | Request::Compare(_)
            | Request::Hash(_),
        ) => true,
        Some(Request::Transfer(_) | Request::Propose(_) | Request::ChangeMember(_)) | None => false,
    }
}

impl Link for SimLink {
    fn call(
        &self,
        request: PeerRequest,
        within: Duration,
    ) -> BoxFuture<'static, Result<PeerReply, LinkError>> {
        self.network.dialled();
        let from = NodeId(request.hello.map_or(0, |hello| hello.from));
        let exchange = self.clone().exchange(from, request);
        async move {
            match SimRuntime::timeout(within, Box::pin(exchange)).await {
                Ok(answer) => answer,
                Err(_) => Err(LinkError::Lost(format!("no answer within {within:?}"))),
            }
        }
        .boxed()
    }

    fn append(
        &self,
        mut requests: BoxStream<'static, AppendRequest>,
    ) -> BoxStream<'static, Result<AppendReply, LinkError>> {
        self.network.dialled();
        let link = self.clone();
        let dialled = async move {
            // Dialled before a request is drawn, as a connection is.
            let there = link.network.fate();
            SimRuntime::sleep_until(there.arrives).await;
            let Some(member) = link.network.member(link.target) else {
                let down = LinkError::Unreachable(format!("member {:x} is down", link.target.0));
                return stream::once(async { Err(down) }).boxed();
            };
            let Some(first) = requests.next().await else { return stream::empty().boxed() };
            let from = NodeId(first.hello.map_or(0, |hello| hello.from));
            let ways = ((from, link.target), (link.target, from));
            let requests = stream::once(async { first }).chain(requests).boxed();
            let heard = carry(&link.network, requests, ways.0, Arc::clone(&link.machine));
            let heard = heard.take_while(|heard| futures::future::ready(heard.is_ok()));
            let heard = heard.filter_map(|heard| futures::future::ready(heard.ok())).boxed();
            let answers = member.service.append(heard);
            carry(&link.network, answers, ways.1, Arc::clone(&member.machine))
        };
        stream::once(dialled).flatten().boxed()
    }
}
