//! The sockets of a node.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures::future::{join_all, pending};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::task::TaskTracker;
use vetch_raft::Platform;
use vetch_raft::transport::grpc::GrpcTransport;

use super::{StartError, http};
use crate::config::{Config, Listen, Origins, Url};
use crate::edge::connection::{Ending, Transport};
use crate::edge::listener::{Connections, Dealer, Listener};
use crate::edge::service::{EdgeService, Offer, ToAll};
use crate::edge::socket::Listening;
use crate::edge::tls::{Tls, TlsError};
use crate::edge::unix_socket::UnixSocket;
use crate::http::{HttpState, client_router, metrics_router, peer_router};
use crate::rpc::Api;

/// How long a client may take for the head of an HTTP/1 request, as in etcd.
const HEADER_TIMEOUT: Duration = Duration::from_mins(5);
/// An unanswered ping is waited for this long when the flag says "for ever".
const NO_TIMEOUT: Duration = Duration::from_secs(u32::MAX as u64);
/// Connections the kernel holds until they are accepted.
const BACKLOG: u32 = 4096;
/// Bytes a client may send ahead on one stream: a largest request and its envelope.
const CLIENT_WINDOW: u32 = 2 << 20;
/// Bytes a leader may send ahead: enough for a fast link's round trip.
const PEER_WINDOW: u32 = 16 << 20;
/// Streams of one peer at once: forwarded proposals each have one.
const PEER_STREAMS: u32 = u32::MAX;

/// Binds one URL, as the flags about sockets say.
fn bind(url: &Url, listen: &Listen) -> Result<Listening, StartError> {
    let bound = if url.scheme().is_unix() {
        UnixSocket::bind(Path::new(url.address())).map(Listening::Unix)
    } else {
        bind_tcp(url, listen).map(Listening::Tcp)
    };
    bound.map_err(|error| StartError::Listen { url: url.as_str().to_owned(), error })
}

fn bind_tcp(url: &Url, listen: &Listen) -> io::Result<TcpListener> {
    let address = address(url)?;
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As Go does on every listener, so that a restart need not wait for old connections to expire.
    socket.set_reuseaddr(true)?;
    if listen.reuse_port {
        socket.set_reuseport(true)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// An empty host is every address of the machine.
fn address(url: &Url) -> io::Result<SocketAddr> {
    let host = if url.host().is_empty() { "::" } else { url.host() };
    let port = url.port().ok_or_else(|| io::Error::other("the URL names no port number"))?;
    // `localhost` may stand for both ::1 and 127.0.0.1; etcd binds the IPv4 one, and so do we.
    let mut addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses.first().copied().ok_or_else(|| io::Error::other("the host has no address"))
}

/// Every listening socket of a node, bound before anything is opened: a taken port is found at once.
#[derive(Debug)]
pub struct Sockets {
    peer: Vec<Listening>,
    client: ClientSockets,
}

/// The sockets that are served once the member can answer.
#[derive(Debug)]
pub(super) struct ClientSockets {
    client: Vec<Listening>,
    client_http: Vec<Listening>,
    metrics: Vec<Listening>,
    dealer: Dealer,
}

impl Sockets {
    /// Binds what `listen` names; a port of 0 lets the system choose.
    pub fn bind(listen: &Listen) -> Result<Self, StartError> {
        let bind = |urls: &[Url]| -> Result<Vec<_>, StartError> {
            urls.iter().map(|url| bind(url, listen)).collect()
        };
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Self {
            peer: bind(&listen.peer_urls)?,
            client: ClientSockets {
                client: bind(&listen.client_urls)?,
                client_http: bind(&listen.client_http_urls)?,
                metrics: bind(&listen.metrics_urls)?,
                dealer: Dealer::start(Dealer::suitable_edges(cores)).map_err(StartError::Thread)?,
            },
        })
    }

    /// Where peers reach the node over TCP.
    pub fn peer_addrs(&self) -> Vec<SocketAddr> {
        addresses(&self.peer)
    }

    /// Where clients reach the node over TCP.
    pub fn client_addrs(&self) -> Vec<SocketAddr> {
        addresses(&self.client.client)
    }

    /// Ends what peers connect, so that they need not wait to learn that this member does not serve yet.
    pub(super) async fn turn_peers_away(&self) -> Infallible {
        let turn_away = async |socket: &Listening| {
            // Out of descriptors, say: they may wait then.
            while socket.accept().await.map(drop).is_ok() {}
        };
        join_all(self.peer.iter().map(turn_away)).await;
        pending().await
    }

    /// Serves peers; the rest is served when the member is ready.
    pub(super) fn serve_peers<P: Platform<Transport = GrpcTransport>>(
        self,
        platform: &P,
        api: &Arc<Api<P>>,
        config: &Config,
        tls: Option<&Arc<Tls>>,
        ending: &Ending,
        connections: &TaskTracker,
    ) -> ClientSockets {
        // Heartbeats wait for nobody: on the core runtime, where consensus is.
        let shared = Connections::new(peer_transport(), Dealer::none());
        let router = peer_router(http::state(api, config.http.clone()), http::peer_port(api))
            .route_service("/vetchpb.Peer/{method}", platform.transport().service());
        let offered = ToAll(TowerToHyperService::new(router));
        for (socket, url) in self.peer.into_iter().zip(&config.listen.peer_urls) {
            let address = shown(&socket, url);
            let tls = tls.cloned().filter(|_| url.scheme().is_tls());
            assert_eq!(tls.is_some(), url.scheme().is_tls(), "{url} has what its scheme says");
            let listener = Listener::new(socket, tls, offered.clone(), shared.clone());
            drop(connections.spawn(listener.run(ending.clone(), connections.clone())));
            tracing::info!(address, "serving peer traffic");
        }
        self.client
    }
}

impl ClientSockets {
    /// Serves on all of them.
    pub(super) fn serve<P: Platform>(
        self,
        api: &Arc<Api<P>>,
        config: &Config,
        tls: Option<&Arc<Tls>>,
        ending: &Ending,
        connections: &TaskTracker,
    ) {
        let shared = Connections::new(transport(config), self.dealer);
        let http = http::state(api, config.http.clone());
        let start = |(socket, url): (Listening, &Url), router: fn(HttpState) -> Router, offer| {
            let mut http = http.clone();
            let tls = tls.cloned().filter(|_| url.scheme().is_tls());
            assert_eq!(tls.is_some(), url.scheme().is_tls(), "{url} has what its scheme says");
            if tls.is_some() {
                // A name that is not the server's own has no certificate: nothing to rebind.
                http.http.host_whitelist = Origins::Any;
            }
            let service = EdgeService::new(Arc::clone(api), router(http), offer);
            let listener = Listener::new(socket, tls, service, shared.clone());
            drop(connections.spawn(listener.run(ending.clone(), connections.clone())));
        };
        let offer = if self.client_http.is_empty() { Offer::Both } else { Offer::GrpcOnly };
        for (socket, url) in self.client.into_iter().zip(&config.listen.client_urls) {
            let address = shown(&socket, url);
            start((socket, url), client_router, offer);
            tracing::info!(address, "ready to serve client requests");
        }
        for listening in self.client_http.into_iter().zip(&config.listen.client_http_urls) {
            start(listening, client_router, Offer::HttpOnly);
        }
        for listening in self.metrics.into_iter().zip(&config.listen.metrics_urls) {
            start(listening, metrics_router, Offer::HttpOnly);
        }
    }
}

fn addresses(sockets: &[Listening]) -> Vec<SocketAddr> {
    // Fails for what is no socket only.
    sockets.iter().filter_map(|socket| socket.local_addr().ok().flatten()).collect()
}

/// The address as the log has it: with the port that was chosen.
fn shown(socket: &Listening, url: &Url) -> String {
    let address = socket.local_addr().ok().flatten();
    address.map_or_else(|| url.to_string(), |address| address.to_string())
}

/// The certificate of the listeners for clients, if one of them has use for it.
pub(super) fn open_tls(config: &Config) -> Result<Option<Arc<Tls>>, TlsError> {
    let listen = &config.listen;
    let urls =
        listen.client_urls.iter().chain(&listen.client_http_urls).chain(&listen.metrics_urls);
    let urls: Vec<&Url> = urls.filter(|url| url.scheme().is_tls()).collect();
    let hosts: Vec<String> = urls.iter().map(|url| url.host().to_owned()).collect();
    match &config.tls {
        Some(settings) if !urls.is_empty() => {
            let folder = config.data_dir.join("fixtures").join("client");
            Tls::open(settings, &folder, &hosts).map(Arc::new).map(Some)
        }
        Some(_) | None => Ok(None),
    }
}

/// The same of the listeners for peers.
pub(super) fn open_peer_tls(config: &Config) -> Result<Option<Arc<Tls>>, TlsError> {
    let urls = config.listen.peer_urls.iter().filter(|url| url.scheme().is_tls());
    let hosts: Vec<String> = urls.map(|url| url.host().to_owned()).collect();
    match &config.peer_tls {
        Some(settings) if !hosts.is_empty() => {
            let folder = config.data_dir.join("fixtures").join("peer");
            Tls::open(&settings.listen, &folder, &hosts).map(Arc::new).map(Some)
        }
        Some(_) | None => Ok(None),
    }
}

fn transport(config: &Config) -> Transport {
    Transport {
        max_concurrent_streams: config.limits.max_concurrent_streams,
        keepalive_min_time: config.keepalive.min_time,
        keepalive_interval: config.keepalive.interval,
        keepalive_timeout: config.keepalive.timeout.unwrap_or(NO_TIMEOUT),
        header_timeout: HEADER_TIMEOUT,
        stream_window: CLIENT_WINDOW,
    }
}

/// Peers are no clients: they ping as they like, and it is they who find out that a connection died.
fn peer_transport() -> Transport {
    Transport {
        max_concurrent_streams: PEER_STREAMS,
        keepalive_min_time: None,
        keepalive_interval: None,
        keepalive_timeout: NO_TIMEOUT,
        header_timeout: HEADER_TIMEOUT,
        stream_window: PEER_WINDOW,
    }
}
