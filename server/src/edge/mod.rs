//! The network edge: listeners, connections, and the split between gRPC and HTTP on one port.
//!
//! - [`listener`]: accepts, bounds the number of connections, hands sockets to runtimes.
//! - [`connection`]: serves HTTP/1 and HTTP/2 on one socket.
//! - [`service`]: routes a request to the gRPC services or the HTTP router.

pub mod connection;
pub mod listener;
pub mod service;
