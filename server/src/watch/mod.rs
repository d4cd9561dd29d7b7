//! Watch: fan-out of applied events to client streams. It never runs inside apply and nothing in it
//! waits for a client.
//!
//! - [`hub`]: all watchers of a node; takes what was applied, hands it to whom it concerns.
//! - [`interest`], [`interval_tree`]: who is concerned by a key.
//! - [`event_log`]: the newest events, for watchers a little behind.
//! - [`shared_batch`]: a revision's events, encoded once for all who get them.
//! - [`outbox`]: what a stream has yet to send, bounded.
//! - [`catch_up`]: history for a watcher that is behind, until it meets the present.
//! - [`stream`]: one client stream's requests. [`body`]: its answers.
//!
//! A watcher is *live* (in the hub's interest) or *catching up* (reading history). It becomes live
//! under the hub's lock, at exactly the revision after the last it has read: no gap, no duplicate. It
//! falls back when its stream's outbox is full.

pub mod body;
pub mod catch_up;
pub mod event_log;
pub mod hub;
pub mod interest;
pub mod interval_tree;
pub mod outbox;
pub mod shared_batch;
pub mod stream;

#[cfg(test)]
mod tests;

pub use hub::{Settings, WatchHub, WatchMetrics};
pub use stream::serve;
