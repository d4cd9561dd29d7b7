//! HTTP beside gRPC: health, version, metrics, and refusals in etcd's words.
//!
//! Handlers know a [`HealthProbe`] and [`Metrics`](crate::metrics::Metrics), nothing of the node, so
//! that they are tested without one.

mod access;
mod checks;
mod debug;
mod gateway;
mod health;
mod members;
mod probe;
mod router;
mod text;

pub use members::{Answer, ClusterState, peer_router};
pub use probe::{HealthProbe, ProbeFuture};
pub use router::{HttpState, Versions, client_router, metrics_router};
