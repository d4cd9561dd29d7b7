//! What is at the other end of a request's path.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::Service;
use tower::ServiceExt;
use vetch_raft::Platform;

use super::peer::Peer;
use crate::rpc::body::AnswerBody;
use crate::rpc::meter::{Metered, unmetered};
use crate::rpc::{Api, route};

/// What answers the requests of a listener's connections.
pub trait Offered: Send + Sync + 'static {
    /// What answers one connection.
    type Service: Served;

    /// The service of a connection with `peer` at its other end.
    fn to(&self, peer: Peer) -> Self::Service;
}

/// Answers the requests of one connection.
pub trait Served:
    Service<
        Request<Incoming>,
        Response = Response<Self::Answer>,
        Error = Infallible,
        Future: Send + 'static,
    > + Send
    + 'static
{
    /// An answer's body.
    type Answer: http_body::Body<Data = Bytes, Error: Into<tower::BoxError>> + Send + 'static;
}

impl<S, B> Served for S
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<tower::BoxError>> + Send + 'static,
{
    type Answer = B;
}

/// The same for everyone who connects.
#[derive(Clone, Debug)]
pub struct ToAll<S>(pub S);

impl<S: Served + Clone + Sync> Offered for ToAll<S> {
    type Service = S;

    fn to(&self, _: Peer) -> S {
        self.0.clone()
    }
}

/// What a client listener offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// gRPC and HTTP (`--listen-client-urls`).
    Both,
    /// gRPC only: HTTP has its own listener (`--listen-client-http-urls`).
    GrpcOnly,
    /// HTTP only (`--listen-client-http-urls`, `--listen-metrics-urls`).
    HttpOnly,
}

/// Serves the requests of a connection.
pub struct EdgeService<P: Platform> {
    api: Arc<Api<P>>,
    http: axum::Router,
    offer: Offer,
    /// Who is at the other end of the connection.
    client: Peer,
}

impl<P: Platform> Clone for EdgeService<P> {
    fn clone(&self) -> Self {
        let Self { api, http, offer, client } = self;
        Self { api: Arc::clone(api), http: http.clone(), offer: *offer, client: *client }
    }
}

impl<P: Platform> std::fmt::Debug for EdgeService<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EdgeService").field("offer", &self.offer).finish_non_exhaustive()
    }
}

impl<P: Platform> EdgeService<P> {
    /// A service that offers what `offer` says, with `http` behind everything that is not gRPC.
    pub fn new(api: Arc<Api<P>>, http: axum::Router, offer: Offer) -> Self {
        // Named when there is a connection.
        Self { api, http, offer, client: Peer::Unix }
    }
}

impl<P: Platform> Offered for EdgeService<P> {
    type Service = Self;

    fn to(&self, peer: Peer) -> Self {
        Self { client: peer, ..self.clone() }
    }
}

/// gRPC is HTTP/2 with its content type; everything else is HTTP.
fn is_grpc(request: &Request<Incoming>) -> bool {
    request.version() == Version::HTTP_2
        && request
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

impl<P: Platform> Service<Request<Incoming>> for EdgeService<P> {
    type Response = Response<Metered>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        match (is_grpc(&request), self.offer) {
            (true, Offer::Both | Offer::GrpcOnly) => {
                let (api, client) = (Arc::clone(&self.api), self.client);
                Box::pin(async move { Ok(route::route(&api, client, request).await) })
            }
            (false, Offer::Both | Offer::HttpOnly) => {
                let router = self.http.clone();
                Box::pin(async move { Ok(unmetered(answer_http(router, request).await)) })
            }
            (true, Offer::HttpOnly) => Box::pin(async {
                Ok(unmetered(plain(StatusCode::NOT_FOUND, "this listener serves HTTP only\n")))
            }),
            (false, Offer::GrpcOnly) => Box::pin(async {
                Ok(unmetered(plain(StatusCode::NOT_FOUND, "this listener serves gRPC only\n")))
            }),
        }
    }
}

async fn answer_http(router: axum::Router, request: Request<Incoming>) -> Response<AnswerBody> {
    let Ok(response) = router.oneshot(request).await;
    response.map(|body| AnswerBody::new(InfallibleBody(body)))
}

fn plain(status: StatusCode, text: &'static str) -> Response<AnswerBody> {
    let mut response =
        Response::new(AnswerBody::new(Full::new(Bytes::from_static(text.as_bytes()))));
    *response.status_mut() = status;
    response
}

/// A body of the HTTP router. Our handlers' bodies are whole buffers and never fail; should one,
/// the answer ends there, and the client sees it cut short.
struct InfallibleBody(axum::body::Body);

impl http_body::Body for InfallibleBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.0).poll_frame(cx).map(|frame| frame.and_then(Result::ok).map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.0.size_hint()
    }
}
