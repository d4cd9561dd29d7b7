//! How connections to peers are opened.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tonic::codegen::http::Uri;
use tower_service::Service;

/// A connection's bytes, both ways.
pub trait PeerSocket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> PeerSocket for S {}

/// Opens connections to peer URLs. The crate above knows of TLS, this one does not.
pub trait Dial: fmt::Debug + Send + Sync + 'static {
    /// A connection to `url`, with nothing sent on it yet.
    fn dial(&self, url: &str) -> BoxFuture<'static, io::Result<Box<dyn PeerSocket>>>;
}

/// Plain TCP, to `http://` URLs only.
#[derive(Clone, Copy, Debug)]
pub struct PlainDial;

impl Dial for PlainDial {
    fn dial(&self, url: &str) -> BoxFuture<'static, io::Result<Box<dyn PeerSocket>>> {
        let address = url.strip_prefix("http://").map(str::to_owned);
        async move {
            let address =
                address.ok_or_else(|| io::Error::other("only http:// is dialled here"))?;
            let socket = TcpStream::connect(address).await?;
            socket.set_nodelay(true)?;
            Ok(Box::new(socket) as Box<dyn PeerSocket>)
        }
        .boxed()
    }
}

/// [`Dial`] of one URL, as tonic wants it. tonic's own idea of the URL is not looked at: it knows
/// neither certificates nor files.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    pub(super) url: Arc<str>,
    pub(super) dial: Arc<dyn Dial>,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn PeerSocket>>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let dialled = self.dial.dial(&self.url);
        async move { dialled.await.map(TokioIo::new) }.boxed()
    }
}
