//! What peers' connections reach.

use std::fmt;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use tonic::{Request, Response, Status, Streaming};
use vetch_proto::vetchpb::peer_server::Peer;
use vetch_proto::vetchpb::{AppendReply, AppendRequest, PeerReply, PeerRequest};

use super::Connections;
use crate::transport::PeerService;

/// The running member, if it runs. Clones are the same.
#[derive(Clone, Default)]
pub struct Inbound {
    member: Arc<Mutex<Option<Arc<dyn PeerService>>>>,
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound").field("serves", &self.member.lock().is_some()).finish()
    }
}

/// Ends the service, and the connections to peers, when dropped.
pub struct Serving {
    inbound: Inbound,
    service: Arc<dyn PeerService>,
    connections: Arc<Connections>,
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").finish_non_exhaustive()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let mut member = self.inbound.member.lock();
        let ours = |serving: &mut Arc<dyn PeerService>| Arc::ptr_eq(serving, &self.service);
        let gone = member.take_if(ours);
        // The last hold on a member may be this one, and its end comes back here.
        drop(member);
        drop(gone);
        // They ask the member's own table for addresses: a later run has another.
        drop(std::mem::take(&mut *self.connections.lock()));
    }
}

impl Inbound {
    pub(super) fn serve(
        &self,
        service: Arc<dyn PeerService>,
        connections: Arc<Connections>,
    ) -> Serving {
        let before = self.member.lock().replace(Arc::clone(&service));
        drop(before);
        Serving { inbound: self.clone(), service, connections }
    }

    fn member(&self) -> Result<Arc<dyn PeerService>, Status> {
        let member = self.member.lock().clone();
        member.ok_or_else(|| Status::failed_precondition("this member is not running"))
    }
}

#[tonic::async_trait]
impl Peer for Inbound {
    type AppendStream = BoxStream<'static, Result<AppendReply, Status>>;

    async fn append(
        &self,
        request: Request<Streaming<AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let member = self.member()?;
        // A broken connection ends the requests; the replies then have nobody to go to.
        let requests = request
            .into_inner()
            .take_while(|request| futures::future::ready(request.is_ok()))
            .filter_map(|request| futures::future::ready(request.ok()));
        Ok(Response::new(member.append(requests.boxed()).map(Ok).boxed()))
    }

    async fn call(&self, request: Request<PeerRequest>) -> Result<Response<PeerReply>, Status> {
        let member = self.member()?;
        Ok(Response::new(member.call(request.into_inner()).await))
    }
}
