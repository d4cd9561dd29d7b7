//! Metrics under etcd's names, labels and buckets, in the Prometheus text format.
//!
//! **Invariant:** no globals: a [`Metrics`] hangs from one node. Hot paths hold handles that were
//! resolved once; a bump is one atomic addition.

mod buckets;
mod counter;
mod family;
mod group;
mod groups;
mod missing;
mod operation;
mod peers;
mod process;
mod registry;
mod requests;
mod rpc;
mod timed;

pub use counter::Counter;
pub use groups::{
    DiskMetrics, HttpMetrics, LeaseMetrics, MvccMetrics, NetworkMetrics, ServerMetrics,
    WatchMetrics,
};
pub use missing::{Missing, NOT_EXPORTED, markdown};
pub use operation::{KeyOperations, Operation};
pub use peers::{PeerMetrics, PeersMetrics, StateMetrics};
pub use prometheus_client::metrics::gauge::Gauge;
pub use prometheus_client::metrics::histogram::Histogram;
pub use registry::{Identity, Metrics};
pub use requests::{ClientRequests, RequestMetrics, StreamFailures};
pub use rpc::{MethodMetrics, RpcMetrics};
pub use timed::ByOutcome;
