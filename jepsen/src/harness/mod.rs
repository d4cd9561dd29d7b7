//! Real server processes under load and faults.
//!
//! - `server`: one server process: start, wait until it serves, kill, stop
//! - `connection`: one client connection: operations in, outcomes out
//! - `wire`: the protocol's messages from and to the history's types
//! - `gate`: tells clients whether the server is up
//! - `workload`: clients that write and read
//! - `watchers`: clients that watch, and resume after every restart
//! - `collect`: asks the server for its history once the dust has settled
//! - `kill_rounds`: kill -9 at random moments, restart, judge
//! - `kill_report`: what came of it
//! - `findings`: runs all checkers over what a run left behind
//! - `filled_store`: writes a known content and verifies every bit of it later
//! - `tree`: what a folder holds, to be compared
//! - `bit_flips`: damages each class of file and watches what the server does with it
//! - `tool`: what the command-line tools have in common
//! - `disk_full`: fills the disk under the server

mod bit_flips;
mod collect;
mod connection;
mod disk_full;
mod error;
mod filled_store;
mod findings;
mod gate;
mod kill_report;
mod kill_rounds;
mod server;
mod tool;
mod tree;
pub(crate) mod watchers;
pub(crate) mod wire;
pub(crate) mod workload;

pub use bit_flips::{BitFlips, Flip, FlipOutcome, FlipReport, flip_bits};
pub use collect::Evidence;
pub use connection::Connection;
pub use disk_full::{DiskFull, DiskFullReport, fill_disk};
pub use error::HarnessError;
pub use filled_store::FilledStore;
pub use findings::{Finding, judge};
pub use kill_report::KillReport;
pub use kill_rounds::{KillRounds, kill_rounds};
pub use server::{Server, ServerSpec};
pub use tool::{Report, ServerArgs, run_in_folder};
