//! The gRPC services: decode, validate, call, encode. One file per service.
//!
//! - [`status`]: the one table from refusals to etcd's codes and texts.
//! - [`validate`]: checks of a request by itself.
//! - [`envelope`]: the size of a request, as etcd counts it.
//! - [`header`]: cluster, member, revision and term of every answer.
//! - [`message`], [`body`]: gRPC's framing, in and out. [`method`]: the list of all RPCs. [`meter`]:
//!   what is counted of them.
//! - [`route`]: from a request's path to the method that answers it.
//! - [`kv`], [`lease`], [`cluster`], [`maintenance`], [`health`]: the services.
//! - [`stream_end`]: what ends streams.
//! - [`quota`], [`space`]: when growth is refused.
//! - [`slow`]: the log's lines about what took too long.
//! - [`range_body`], [`range_stream`]: large answers, sent as they are read.

pub mod api;
pub mod body;
pub mod cluster;
pub mod envelope;
pub mod header;
pub mod health;
pub mod kv;
pub mod lease;
pub mod maintenance;
pub mod message;
pub mod meter;
pub mod method;
pub mod quota;
pub mod range_body;
pub mod range_stream;
pub mod route;
pub mod slow;
pub mod snapshot;
pub mod space;
pub mod status;
pub mod stream_end;
pub mod validate;

pub use api::{Api, Limits};
pub use header::Identity;
pub use status::Refusal;
