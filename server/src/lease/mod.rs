//! Deadlines of leases: kept by the leader only, on monotonic time only.
//!
//! - [`leases`]: [`Leases`], what the rest of the node sees.
//! - [`lessor`]: who expires when; plain data, `now` is an argument. `spread`: not all at once.
//! - `clock`: the lessor behind a lock, following what is applied and who leads; renewals.
//! - `driver`: the task that proposes what is due.
//! - `elsewhere`: what other members ask the one that keeps the deadlines.
//! - `group`: what both need of the replica.

mod clock;
mod driver;
mod elsewhere;
mod group;
pub mod leases;
pub mod lessor;
mod role;
mod spread;
#[cfg(test)]
mod tests;

pub use leases::{LeaseSettings, Leases};
pub use lessor::Lessor;
