//! Watch: fan-out of applied events to streams, off the applying task.

use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http_body::Body;
use vetch_raft::Platform;
use vetch_storage::{Applied, ReadView};

use crate::rpc::Api;
use crate::rpc::body::AnswerBody;
use crate::rpc::message::MessageReader;

/// All watchers of a node.
#[derive(Debug)]
pub struct WatchHub<P: Platform> {
    platform: PhantomData<P>,
}

impl<P: Platform> WatchHub<P> {
    /// Publishes what was applied, in order. Called on the applying task; does not block.
    pub fn on_applied(&self, view: &ReadView<P::Engine>, applied: &[Arc<Applied>]) {
        let _ = (view, applied);
        todo!()
    }

    /// The whole state was replaced: every watcher goes back to history from its next revision.
    pub fn on_installed(&self, view: &ReadView<P::Engine>) {
        let _ = view;
        todo!()
    }
}

/// Serves one Watch stream.
pub fn serve<P, B>(api: Arc<Api<P>>, messages: MessageReader<B>) -> Response<AnswerBody>
where
    P: Platform,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::fmt::Display,
{
    let _ = (api, messages);
    todo!()
}
