//! The record that every batch carries: the applied position, and what the batch was made after.

use std::path::Path;

use crate::error::Fatal;
use crate::types::LogIndex;

/// Where in [`Family::State`](crate::engine::Family::State) it is kept. Scans leave it out.
pub(super) const APPLIED_KEY: &[u8] = b"\0engine/applied";

/// fjall's flushes and compactions take sequence numbers too, but not this many between two batches.
const MAX_SKIPPED: u64 = 1 << 20;

/// The record's contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Applied {
    /// The log position the state has reached.
    pub(super) position: LogIndex,
    /// No sequence number from here on had been given out when the batch was made.
    pub(super) floor: u64,
}

impl Applied {
    pub(super) fn encode(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.position.get().to_be_bytes());
        bytes[8..].copy_from_slice(&self.floor.to_be_bytes());
        bytes
    }

    /// `None` for what is no such record.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (position, rest) = bytes.split_first_chunk()?;
        let floor = rest.try_into().ok()?;
        Some(Self {
            position: LogIndex(u64::from_be_bytes(*position)),
            floor: u64::from_be_bytes(floor),
        })
    }

    /// Whether a batch with this record may have this sequence number.
    pub(super) fn admits(self, sequence: u64) -> bool {
        sequence.checked_sub(self.floor).is_some_and(|skipped| skipped < MAX_SKIPPED)
    }
}

/// The applied position of a stored record; a new database has none.
pub(super) fn position(path: &Path, stored: Option<&[u8]>) -> Result<LogIndex, Fatal> {
    let Some(bytes) = stored else { return Ok(LogIndex(0)) };
    match Applied::decode(bytes) {
        Some(applied) => Ok(applied.position),
        None => Err(Fatal::Corrupt {
            location: format!("{}, applied position", path.display()),
            expected: "16 bytes".to_owned(),
            found: format!("{} bytes", bytes.len()),
        }),
    }
}
