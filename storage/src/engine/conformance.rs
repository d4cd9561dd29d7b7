//! What every engine must do, as functions that panic where one does not.
//!
//! A [`Store`] is a place where an engine's state survives the engine: a directory, or the images of
//! the one in memory. [`all`] runs everything, each check on a new store.
//!
//! - `content`: what is written is what is read. `batches`: positions, crashes and readers beside writers.
//!   `loading`: many pairs at once, as for a state that comes from a peer.
//! - `stores`: the places of our engines. `random` and `damage`: their tests beyond this.

use std::ops::Bound;

use bytes::Bytes;

use super::{Batch, Bounds, Change, Engine, Family, Order};
use crate::types::LogIndex;

mod batches;
mod content;
#[cfg(test)]
mod damage;
mod loading;
#[cfg(test)]
mod random;
mod stores;

#[cfg(feature = "sled")]
pub use stores::SledStore;
#[cfg(test)]
pub(super) use stores::copy_dir;
pub use stores::{FjallStore, MemStore};

/// Where an engine's state lives on when the engine stops.
pub trait Store {
    /// The engine.
    type Engine: Engine;
    /// Opens what is there; an empty state the first time.
    fn open(&mut self) -> Self::Engine;
    /// Stops an engine as a clean exit would, and opens what it left.
    fn reopen(&mut self, engine: Self::Engine) -> Self::Engine;
    /// What is found after the machine lost its power: at least all that was persisted.
    fn crash(&mut self, engine: Self::Engine) -> Self::Engine;
}

/// Runs every check of this module.
pub fn all<S: Store>(new: impl Fn() -> S) {
    for (_, check) in checks() {
        check(&mut new());
    }
}

/// A check by name.
pub type Check<S> = (&'static str, fn(&mut S));

/// The checks, for callers that report each by itself.
pub fn checks<S: Store>() -> Vec<Check<S>> {
    vec![
        ("a_new_store_is_empty", content::a_new_store_is_empty),
        ("changes_of_a_batch_come_in_order", content::changes_of_a_batch_come_in_order),
        ("families_are_apart", content::families_are_apart),
        ("scans_respect_bounds_and_order", content::scans_respect_bounds_and_order),
        ("long_keys_and_values_are_kept", content::long_keys_and_values_are_kept),
        ("the_applied_position_is_kept", batches::the_applied_position_is_kept),
        ("background_batches_leave_the_position", batches::background_batches_leave_the_position),
        ("what_was_persisted_survives_a_crash", batches::what_was_persisted_survives_a_crash),
        ("a_crash_leaves_whole_batches", batches::a_crash_leaves_whole_batches),
        ("loaded_pairs_are_found", loading::loaded_pairs_are_found),
        ("batches_follow_what_was_loaded", loading::batches_follow_what_was_loaded),
        ("readers_run_beside_a_writer", batches::readers_run_beside_a_writer),
        ("sizes_follow_what_is_stored", content::sizes_follow_what_is_stored),
    ]
}

/// Every key.
pub const EVERYTHING: Bounds = (Bound::Unbounded, Bound::Unbounded);

/// A put of short strings.
pub fn put(family: Family, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Change {
    Change::Put { family, key: key.into(), value: value.into() }
}

/// A deletion.
pub fn delete(family: Family, key: impl Into<Bytes>) -> Change {
    Change::Delete { family, key: key.into() }
}

/// A batch that moves the applied position.
pub fn batch(applied: u64, changes: Vec<Change>) -> Batch {
    Batch { changes, applied: Some(LogIndex(applied)) }
}

/// All pairs of a scan.
pub fn collect<E: Engine>(
    engine: &E,
    family: Family,
    bounds: Bounds,
    order: Order,
) -> Vec<(Bytes, Bytes)> {
    engine.scan(family, bounds, order).collect::<Result<_, _>>().expect("the scan succeeds")
}

fn get<E: Engine>(engine: &E, family: Family, key: &[u8]) -> Option<Bytes> {
    engine.get(family, key).expect("the read succeeds")
}

fn apply<E: Engine>(engine: &E, batch: Batch) {
    engine.apply(batch).expect("the batch is applied");
}

/// Bytes that no engine can compress.
fn noise(len: usize) -> Bytes {
    let mut state = 1_u64;
    let bytes = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    });
    bytes.take(len).collect()
}
