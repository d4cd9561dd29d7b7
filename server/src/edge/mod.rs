//! The network edge: listeners, connections, and the split between gRPC and HTTP on one port.
//!
//! - [`listener`]: accepts, bounds the number of connections, hands sockets to runtimes.
//! - [`connection`]: serves HTTP/1 and HTTP/2 on one socket.
//! - `policed`: sends clients away that ping too often, by what `frames` sees of the bytes that pass
//!   and `pings` counts.
//! - [`socket`], [`unix_socket`]: TCP, or files of the file system. [`peer`]: who is at the other end.
//! - [`tls`]: certificates, and the handshake.
//! - [`service`]: routes a request to the gRPC services or the HTTP router.

pub mod connection;
mod frames;
pub mod listener;
pub mod peer;
mod pings;
mod policed;
pub mod service;
pub mod socket;
pub mod tls;
pub mod unix_socket;
