//! Whole nodes, many in this one process: real files, real sockets on ports the system chooses.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod bootstrap;
mod cluster;
mod corruption;
mod discovery;
mod diverged;
mod health;
mod history;
mod leadership;
mod leases;
mod limits;
mod member;
mod membership;
mod peer_metrics;
mod peer_port;
mod peer_tls;
mod replication;
mod restart;
mod rolling;
mod space;
mod stopping;
mod without_a_leader;
