//! The program itself, as a process: what it says, when it ends, and with which status.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod cluster;
mod damage;
mod playground;
mod process;
mod signals;
mod start;
