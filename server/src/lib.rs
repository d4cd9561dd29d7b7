//! The etcd v3 API in front of a replicated state machine: gRPC services, watch, leases, HTTP,
//! configuration, and the node that owns them all.
#![forbid(unsafe_code)]

pub mod auto_compaction;
pub mod cli;
pub mod compactor;
pub mod config;
mod corruption;
pub mod edge;
pub mod http;
pub mod lease;
pub mod logging;
pub mod metrics;
pub mod node;
pub mod playground;
pub mod rpc;
pub mod snapshot_file;
pub mod version;
pub mod watch;
