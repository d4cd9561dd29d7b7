//! Histories, the checkers that judge them, and the real processes they come from.
//!
//! A run drives a server with concurrent clients and watchers while faults happen, and records
//! what every client asked and was told. Afterwards independent checkers look for a lie:
//!
//! - `history`: operations, answers, outcomes; the recorder; JSON lines
//! - `store`: the sequential specification, one operation at a time
//! - `persisted`: the order of events the store persisted, and its replay
//! - `linearizability`: is there an order that explains all answers?
//! - `serializable`: was every stale or historical answer a state the store was in?
//! - `watch`: etcd's nine watch guarantees
//! - `durability`: is everything acknowledged still there, and did no revision go back?
//! - `simulator`: seeded histories that are right by construction, to prove the checkers with
//! - `sim`: members of the shipped code in simulated worlds, under faults
//! - `harness`: real server processes, their clients, and faults
#![forbid(unsafe_code)]

pub mod durability;
pub mod harness;
pub mod history;
pub mod linearizability;
pub mod persisted;
pub mod serializable;
pub mod sim;
pub mod simulator;
pub mod store;
pub mod violation;
pub mod watch;
