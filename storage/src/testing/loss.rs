//! Loss at rest: what a disk no longer has, and has told nobody of.

use std::ops::Bound;

use crate::engine::{Batch, Change, Engine, Family, Order};
use crate::error::Fatal;

/// Removes every trace of `key` from an engine; no checksum tells, and the applied position stays. The index
/// of a running state machine still knows the key, and so does a checkpoint of it.
///
/// The key must be there, and its bytes in no other record: a test that has lost nothing would show nothing.
pub fn forget<E: Engine>(engine: &E, key: &str) -> Result<(), Fatal> {
    let holds = |bytes: &[u8]| bytes.windows(key.len()).any(|part| part == key.as_bytes());
    let mut changes = Vec::new();
    for family in [Family::Versions, Family::Revisions] {
        for item in engine.scan(family, (Bound::Unbounded, Bound::Unbounded), Order::Ascending) {
            let (at, value) = item?;
            if holds(&at) || holds(&value) {
                changes.push(Change::Delete { family, key: at });
            }
        }
    }
    assert!(changes.len() >= 2, "the key {key:?} is there");
    engine.apply(Batch { changes, applied: None })?;
    engine.persist()?;
    Ok(())
}
