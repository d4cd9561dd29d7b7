//! One HTTP/2 connection as a transport for the generated clients.
//!
//! tonic's `Channel` puts a queue and a task between caller and connection, and reconnects by itself;
//! the load generator shares its cores with the server, so it does without, and a broken connection
//! is an error.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use anyhow::{Context as _, Result, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::TcpStream;
use tonic::body::Body;
use tower_service::Service;
use vetch_proto::etcdserverpb::cluster_client::ClusterClient;
use vetch_proto::etcdserverpb::kv_client::KvClient;
use vetch_proto::etcdserverpb::lease_client::LeaseClient;
use vetch_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use vetch_proto::etcdserverpb::watch_client::WatchClient;

/// Clones share the connection; its task ends when the last is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    send: SendRequest<Body>,
    origin: Uri,
}

impl Connection {
    pub(crate) async fn open(server: SocketAddr) -> Result<Self> {
        let socket = TcpStream::connect(server).await.context("connect")?;
        socket.set_nodelay(true)?;
        let (send, connection) = Builder::new(TokioExecutor::new())
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(64 << 20)
            .handshake(TokioIo::new(socket))
            .await?;
        tokio::spawn(connection);
        let origin = format!("http://{server}").parse()?;
        Ok(Self { send, origin })
    }

    pub(crate) fn kv(&self) -> KvClient<Self> {
        KvClient::with_origin(self.clone(), self.origin.clone())
            .max_decoding_message_size(usize::MAX)
    }

    pub(crate) fn lease(&self) -> LeaseClient<Self> {
        LeaseClient::with_origin(self.clone(), self.origin.clone())
            .max_decoding_message_size(usize::MAX)
    }

    pub(crate) fn watch(&self) -> WatchClient<Self> {
        WatchClient::with_origin(self.clone(), self.origin.clone())
            .max_decoding_message_size(usize::MAX)
    }

    pub(crate) fn cluster(&self) -> ClusterClient<Self> {
        ClusterClient::with_origin(self.clone(), self.origin.clone())
    }

    pub(crate) fn maintenance(&self) -> MaintenanceClient<Self> {
        MaintenanceClient::with_origin(self.clone(), self.origin.clone())
    }

    /// Calls `path` and throws the answer away undecoded; gives its length in bytes. For answers of
    /// hundreds of megabytes, whose decoding would take the cores from the server.
    pub(crate) async fn drain(&self, path: &str, request: &impl Message) -> Result<u64> {
        let mut framed = BytesMut::with_capacity(5 + request.encoded_len());
        framed.put_u8(0); // not compressed
        framed.put_u32(u32::try_from(request.encoded_len())?);
        request.encode(&mut framed)?;
        let request =
            Request::post(format!("{}{path}", self.origin.to_string().trim_end_matches('/')))
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(Body::new(Full::new(framed.freeze())))?;
        let response = self.send.clone().send_request(request).await?;
        ensure!(response.status().is_success(), "{path}: HTTP {}", response.status());
        let mut status = response.headers().get("grpc-status").cloned();
        let mut body = response.into_body();
        let mut received = 0;
        while let Some(frame) = body.frame().await {
            match frame?.into_data() {
                Ok(data) => received += Bytes::len(&data) as u64,
                Err(frame) => {
                    status = frame.trailers_ref().and_then(|t| t.get("grpc-status")).cloned();
                }
            }
        }
        ensure!(status.as_ref().is_some_and(|s| s == "0"), "{path}: grpc-status {status:?}");
        Ok(received)
    }
}

impl Service<Request<Body>> for Connection {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.send.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.send.send_request(request))
    }
}

/// Clients that share a connection: about as many as in the commands etcd publishes for its own
/// benchmark (1,000 clients on 100 connections).
pub(crate) const CLIENTS_PER_CONNECTION: usize = 8;

/// One connection per client, [`CLIENTS_PER_CONNECTION`] of them the same, spread over the servers.
pub(crate) async fn connect(servers: &[SocketAddr], clients: usize) -> Result<Vec<Connection>> {
    let mut connections = Vec::new();
    for server in servers.iter().cycle().take(clients.div_ceil(CLIENTS_PER_CONNECTION)) {
        connections.push(Connection::open(*server).await?);
    }
    Ok((0..clients).map(|client| connections[client % connections.len()].clone()).collect())
}
