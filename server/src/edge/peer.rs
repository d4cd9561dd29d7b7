//! Who is at the other end of a connection.

use std::fmt;
use std::net::SocketAddr;

/// A client, as the log names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Over TCP.
    Tcp(SocketAddr),
    /// Over a Unix socket; the client's end has no name.
    Unix,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            // As Go writes an address without a name, and so etcd's log.
            Self::Unix => f.write_str("@"),
        }
    }
}
