//! The sockets of a node.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;

use tokio::net::{TcpListener, TcpSocket};

use super::StartError;
use crate::config::{Listen, Url};
use crate::edge::socket::Listening;
use crate::edge::unix_socket::UnixSocket;

/// Connections the kernel holds until they are accepted.
const BACKLOG: u32 = 4096;

/// Binds one URL, as the flags about sockets say.
pub(super) fn bind(url: &Url, listen: &Listen) -> Result<Listening, StartError> {
    if url.scheme().is_tls() {
        return Err(StartError::NotBuilt {
            what: format!("listening on {url}"),
            instead: "listen on http:// or unix:// URLs; TLS is not built yet",
        });
    }
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
