//! The transport of a group of one: it refuses, and says so.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, future, stream};
use vetch_proto::vetchpb::{AppendReply, AppendRequest, PeerReply, PeerRequest};
use vetch_storage::NodeId;

use super::{Addresses, Channel, Link, LinkError, PeerService, Transport};

/// No way to anybody.
#[derive(Clone, Copy, Debug)]
pub struct NoPeers;

fn refuse() -> LinkError {
    LinkError::Unreachable("this version runs groups of one member and has no transport".into())
}

impl Transport for NoPeers {
    type Link = Self;
    type Serving = ();

    fn link(&self, _: NodeId, _: Channel, _: &Addresses) -> Self {
        Self
    }

    fn serve(&self, _: NodeId, _: Arc<dyn PeerService>) {}
}

impl Link for NoPeers {
    fn call(
        &self,
        _: PeerRequest,
        _: Duration,
    ) -> BoxFuture<'static, Result<PeerReply, LinkError>> {
        future::ready(Err(refuse())).boxed()
    }

    fn append(
        &self,
        _: BoxStream<'static, AppendRequest>,
    ) -> BoxStream<'static, Result<AppendReply, LinkError>> {
        stream::once(future::ready(Err(refuse()))).boxed()
    }
}
