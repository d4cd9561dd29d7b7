//! Listening and accepted sockets, over TCP or in the file system.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio_util::either::Either;

use super::peer::Peer;
use super::unix_socket::UnixSocket;

/// Where clients are waited for.
#[derive(Debug)]
pub enum Listening {
    /// `http://`
    Tcp(TcpListener),
    /// `unix://`
    Unix(UnixSocket),
}

/// A client's socket, on no runtime yet.
#[derive(Debug)]
pub enum Accepted {
    /// Over TCP.
    Tcp(std::net::TcpStream, SocketAddr),
    /// Over a Unix socket.
    Unix(std::os::unix::net::UnixStream),
}

/// A client's socket on the runtime that serves it.
pub(super) type ClientSocket = Either<tokio::net::TcpStream, tokio::net::UnixStream>;

impl Listening {
    /// The address clients reach it at, if it is TCP; tells the port when 0 was asked for.
    pub fn local_addr(&self) -> io::Result<Option<SocketAddr>> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Some),
            Self::Unix(_) => Ok(None),
        }
    }

    /// Waits for a client.
    pub async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (socket, address) = listener.accept().await?;
                Ok(Accepted::Tcp(socket.into_std()?, address))
            }
            Self::Unix(socket) => socket.accept().await.map(Accepted::Unix),
        }
    }
}

impl Accepted {
    /// Who is at the other end.
    pub fn peer(&self) -> Peer {
        match self {
            Self::Tcp(_, address) => Peer::Tcp(*address),
            Self::Unix(_) => Peer::Unix,
        }
    }

    /// Gives it to the runtime this is called on.
    pub(super) fn adopt(self) -> io::Result<ClientSocket> {
        match self {
            Self::Tcp(socket, _) => {
                let socket = tokio::net::TcpStream::from_std(socket)?;
                socket.set_nodelay(true)?;
                Ok(Either::Left(socket))
            }
            Self::Unix(socket) => tokio::net::UnixStream::from_std(socket).map(Either::Right),
        }
    }
}
