//! The lease clock and its driver beside a real state machine, on virtual time.

mod checkpoints;
mod expiry;
mod leadership;
mod replica;
mod site;
