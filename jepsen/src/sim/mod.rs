//! The simulator: members of the shipped code of storage, raft, watch and lease in one thread, on
//! virtual time, in a world whose every chance comes from a seed.
//!
//! - `shape`: what a seed makes of a world
//! - `world`: members, their lives and deaths. `life`: one member's shipped parts, put together
//! - `process`, `clock`, `machine`: what the shipped code runs on: tasks that are paused and killed
//!   together, a clock of their own, a disk, a network that is listened to
//! - `operator`: changes who is in the group
//! - `nemesis`: injects faults. `clients`, `watchers`, `calls`: who uses the members meanwhile
//! - `scenario`: a course that is written down in place of all these, for what was once found
//! - `oracle`: what must hold at every step
//! - `finale`: everything is mended, and what must come true has to
//! - `run`: one world from its seed to the verdict. `campaign`: many, on all cores
//! - `trace`, `coverage`: what happened, and what was come across
//!
//! What it cannot show: anything about real disks, sockets and threads; those are the harness's part.

mod calls;
pub mod campaign;
mod clients;
pub mod clock;
pub mod coverage;
mod finale;
pub mod life;
pub mod machine;
mod nemesis;
mod operator;
pub mod oracle;
pub mod process;
mod run;
pub mod scenario;
pub mod shape;
pub mod trace;
mod watchers;
pub mod world;

pub use run::{Report, play, run};
pub use scenario::Scenario;
pub use shape::Shape;
