//! What peers' connections reach.

use std::fmt;
use std::sync::{Arc, OnceLock};

use futures::StreamExt;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use prost::Message;
use tonic::{Request, Response, Status, Streaming};
use vetch_proto::vetchpb::peer_server::Peer;
use vetch_proto::vetchpb::{AppendReply, AppendRequest, Hello, PeerReply, PeerRequest};
use vetch_storage::NodeId;

use super::Connections;
use crate::transport::observer::PeerTraffic;
use crate::transport::{Channel, PeerService};

/// The running member, if it runs. Clones are the same.
#[derive(Clone)]
pub struct Inbound {
    member: Arc<Mutex<Option<Arc<dyn PeerService>>>>,
    connections: Arc<Connections>,
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound")
            .field("serves", &self.member.lock().is_some())
            .finish_non_exhaustive()
    }
}

/// Whose requests a stream carries; known from the first one on, `None` for a stranger's.
type Speaker = OnceLock<Option<Arc<dyn PeerTraffic>>>;

/// Ends the service, and the connections to peers, when dropped.
pub struct Serving {
    inbound: Inbound,
    service: Arc<dyn PeerService>,
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
        drop(std::mem::take(&mut *self.inbound.connections.lock()));
    }
}

impl Inbound {
    pub(super) fn new(connections: Arc<Connections>) -> Self {
        Self { member: Arc::default(), connections }
    }

    pub(super) fn serve(&self, service: Arc<dyn PeerService>) -> Serving {
        let before = self.member.lock().replace(Arc::clone(&service));
        drop(before);
        Serving { inbound: self.clone(), service }
    }

    /// What passes between this member and who says to be speaking, if this member speaks to it, too: a
    /// stranger's names are not counted.
    fn traffic(&self, hello: Option<&Hello>) -> Option<Arc<dyn PeerTraffic>> {
        let from = NodeId(hello?.from);
        let connections = self.connections.lock();
        // In whatever channel; the first one in their order is `Append`.
        let ((peer, _), connection) = connections.range((from, Channel::Append)..).next()?;
        (*peer == from).then(|| Arc::clone(connection.traffic()))
    }

    /// A request of a stream, or its end by failure; the first one says who speaks.
    fn count_request(&self, request: Option<&AppendRequest>, speaker: &Speaker) {
        match request {
            Some(request) => {
                let traffic = speaker.get_or_init(|| self.traffic(request.hello.as_ref()));
                if let Some(traffic) = traffic {
                    traffic.received(request.encoded_len());
                }
            }
            None => {
                if let Some(Some(traffic)) = speaker.get() {
                    traffic.receive_failed();
                }
            }
        }
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
        let inbound = self.clone();
        let speaker = Arc::new(Speaker::new());
        let known = Arc::clone(&speaker);
        // A broken connection ends the requests; the replies then have nobody to go to.
        let requests = request
            .into_inner()
            .inspect(move |request| inbound.count_request(request.as_ref().ok(), &known))
            .take_while(|request| futures::future::ready(request.is_ok()))
            .filter_map(|request| futures::future::ready(request.ok()));
        let replies = member.append(requests.boxed()).map(move |reply| {
            if let Some(Some(traffic)) = speaker.get() {
                traffic.sent(reply.encoded_len());
            }
            Ok(reply)
        });
        Ok(Response::new(replies.boxed()))
    }

    async fn call(&self, request: Request<PeerRequest>) -> Result<Response<PeerReply>, Status> {
        let (member, request) = (self.member()?, request.into_inner());
        let traffic = self.traffic(request.hello.as_ref());
        if let Some(traffic) = &traffic {
            traffic.received(request.encoded_len());
        }
        let reply = member.call(request).await;
        if let Some(traffic) = traffic {
            traffic.sent(reply.encoded_len());
        }
        Ok(Response::new(reply))
    }
}
