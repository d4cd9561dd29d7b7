//! The sockets of a node.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::task::TaskTracker;
use vetch_raft::Platform;

use super::{StartError, http};
use crate::config::{Config, Listen, Origins, Url};
use crate::edge::connection::{Ending, Transport};
use crate::edge::listener::{Connections, Dealer, Listener};
use crate::edge::service::{EdgeService, Offer};
use crate::edge::socket::Listening;
use crate::edge::tls::{Tls, TlsError};
use crate::edge::unix_socket::UnixSocket;
use crate::http::{HttpState, client_router, metrics_router};
use crate::rpc::Api;

/// How long a client may take for the head of an HTTP/1 request, as in etcd.
const HEADER_TIMEOUT: Duration = Duration::from_mins(5);
/// An unanswered ping is waited for this long when the flag says "for ever".
const NO_TIMEOUT: Duration = Duration::from_secs(u32::MAX as u64);
/// Connections the kernel holds until they are accepted.
const BACKLOG: u32 = 4096;

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
pub(super) struct Sockets {
    client: Vec<Listening>,
    client_http: Vec<Listening>,
    metrics: Vec<Listening>,
    dealer: Dealer,
}

impl Sockets {
    pub(super) fn bind(config: &Config) -> Result<Self, StartError> {
        let bind = |urls: &[Url]| -> Result<Vec<_>, StartError> {
            urls.iter().map(|url| bind(url, &config.listen)).collect()
        };
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Self {
            client: bind(&config.listen.client_urls)?,
            client_http: bind(&config.listen.client_http_urls)?,
            metrics: bind(&config.listen.metrics_urls)?,
            dealer: Dealer::start(Dealer::suitable_edges(cores)).map_err(StartError::Thread)?,
        })
    }

    /// Serves on all of them; gives back where clients reach the node.
    pub(super) fn serve<P: Platform>(
        self,
        api: &Arc<Api<P>>,
        config: &Config,
        ending: &Ending,
        connections: &TaskTracker,
    ) -> Result<Vec<SocketAddr>, StartError> {
        let shared = Connections::new(transport(config), self.dealer);
        let http = http::state(api, config.http.clone());
        let tls = open_tls(config)?;
        let start = |(socket, url): (Listening, &Url), router: fn(HttpState) -> Router, offer| {
            let mut http = http.clone();
            let tls = tls.clone().filter(|_| url.scheme().is_tls());
            assert_eq!(tls.is_some(), url.scheme().is_tls(), "{url} has what its scheme says");
            if tls.is_some() {
                // A name that is not the server's own has no certificate: nothing to rebind.
                http.http.host_whitelist = Origins::Any;
            }
            let service = EdgeService::new(Arc::clone(api), router(http), offer);
            let listener = Listener::new(socket, tls, service, shared.clone());
            drop(tokio::spawn(listener.run(ending.clone(), connections.clone())));
        };
        let offer = if self.client_http.is_empty() { Offer::Both } else { Offer::GrpcOnly };
        let mut addresses = Vec::new();
        for (socket, url) in self.client.into_iter().zip(&config.listen.client_urls) {
            // Fails for what is no socket only.
            let address = socket.local_addr().ok().flatten();
            start((socket, url), client_router, offer);
            let at = address.map_or_else(|| url.to_string(), |address| address.to_string());
            tracing::info!(address = at, "ready to serve client requests");
            addresses.extend(address);
        }
        for listening in self.client_http.into_iter().zip(&config.listen.client_http_urls) {
            start(listening, client_router, Offer::HttpOnly);
        }
        for listening in self.metrics.into_iter().zip(&config.listen.metrics_urls) {
            start(listening, metrics_router, Offer::HttpOnly);
        }
        Ok(addresses)
    }
}

/// The listeners' certificate, if one of them has use for it.
fn open_tls(config: &Config) -> Result<Option<Arc<Tls>>, TlsError> {
    let listen = &config.listen;
    let urls =
        listen.client_urls.iter().chain(&listen.client_http_urls).chain(&listen.metrics_urls);
    let urls: Vec<&Url> = urls.filter(|url| url.scheme().is_tls()).collect();
    let hosts: Vec<String> = urls.iter().map(|url| url.host().to_owned()).collect();
    match &config.tls {
        Some(settings) if !urls.is_empty() => {
            Tls::open(settings, &config.data_dir, &hosts).map(Arc::new).map(Some)
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
    }
}
