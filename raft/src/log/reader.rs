//! Reading a log that no member has open, for tools: changes nothing.

use super::error::LogError;
use super::recovery;
use crate::disk::Disk;
use crate::types::{RaftLogId, Vote};

/// One live entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedEntry {
    /// Its index, in openraft's counting.
    pub index: u64,
    /// The epoch of its segment, which is the segment's file name in hexadecimal.
    pub epoch: u64,
    /// Where its record begins in the segment.
    pub offset: u32,
    /// Bytes of its record.
    pub len: u32,
}

/// What a log holds.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The member's vote.
    pub vote: Option<Vote>,
    /// The last entry that was purged.
    pub purged: Option<RaftLogId>,
    /// The last entry, purged or not.
    pub last: Option<RaftLogId>,
    /// Live entries by ascending index.
    pub entries: Vec<ListedEntry>,
    /// Bytes behind the log's end that an interrupted write left there; opening clears them.
    pub leftover: u64,
}

/// Lists the log on `disk`; `None` when there is none. Refuses damage as opening the log would.
pub fn list(disk: &dyn Disk) -> Result<Option<Listing>, LogError> {
    let Some(recovered) = recovery::inspect(disk)? else { return Ok(None) };
    let index = &recovered.index;
    let entries = (index.first()..index.end())
        .filter_map(|at| {
            let position = index.position(at)?;
            let (epoch, offset, len) = (position.epoch, position.offset, position.len);
            Some(ListedEntry { index: at, epoch, offset, len })
        })
        .collect();
    let (purged, last) = (index.purged(), index.last());
    let leftover = recovered.leftover_end.saturating_sub(recovered.resume.end);
    Ok(Some(Listing { vote: recovered.vote, purged, last, entries, leftover }))
}
