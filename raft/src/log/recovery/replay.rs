//! The state that records build up, in their order.

use super::{Segment, corrupt};
use crate::disk::Disk;
use crate::log::codec::{decode_entry_id, decode_log_id, decode_position, decode_vote};
use crate::log::error::LogError;
use crate::log::index::{Index, Position};
use crate::log::record::{Header, Kind};
use crate::log::segment::SegmentHeader;
use crate::types::{RaftLogId, Vote};

/// What was expected and what was found.
type Mismatch = (String, String);

#[derive(Debug)]
pub(super) struct Replay {
    vote: Option<Vote>,
    index: Index,
    /// Entries below this were in segments that are gone: by the end they must be purged or truncated.
    missing_below: u64,
}

impl Replay {
    /// Begins with what the oldest segment says about those before it.
    pub(super) fn new(header: &SegmentHeader) -> Self {
        let index = Index::after(header.purged, header.last);
        Self { vote: header.vote, missing_below: index.first(), index }
    }

    /// A later segment repeats what the records before it say.
    pub(super) fn check_header(&self, disk: &dyn Disk, next: &Segment) -> Result<(), LogError> {
        let header = &next.header;
        let state = (self.vote, self.index.purged(), self.index.last());
        let stated = (header.vote, header.purged, header.last);
        if state == stated {
            return Ok(());
        }
        let show = |(vote, purged, last): (Option<Vote>, Option<RaftLogId>, Option<RaftLogId>)| {
            format!("vote {vote:?}, purged {purged:?}, last entry {last:?}")
        };
        Err(corrupt(disk, &next.file.name, 40, show(state), show(stated)))
    }

    pub(super) fn record(
        &mut self,
        header: &Header,
        payload: &[u8],
        at: usize,
    ) -> Result<(), Mismatch> {
        if header.group != 0 {
            return Err(("group 0".to_owned(), format!("group {}", header.group)));
        }
        let unreadable = |what: &str| (format!("a readable {what}"), format!("{payload:02x?}"));
        match header.kind {
            Kind::Entry => {
                let id = decode_entry_id(payload).ok_or_else(|| unreadable("entry"))?;
                self.entry(&id, header, at)
            }
            Kind::Vote => {
                self.vote = Some(decode_vote(payload).ok_or_else(|| unreadable("vote"))?);
                Ok(())
            }
            Kind::Truncate => {
                let after = decode_position(payload).ok_or_else(|| unreadable("truncation"))?;
                self.index.truncate(after);
                self.missing_below = self.missing_below.min(self.index.end());
                Ok(())
            }
            Kind::Purge => {
                let upto = decode_log_id(payload).ok_or_else(|| unreadable("purge"))?;
                self.index.purge(upto);
                Ok(())
            }
        }
    }

    fn entry(&mut self, id: &RaftLogId, header: &Header, at: usize) -> Result<(), Mismatch> {
        let position = Position {
            epoch: header.epoch,
            // A segment is below 4 GiB, so these are lossless.
            offset: u32::try_from(at).unwrap_or(u32::MAX),
            len: u32::try_from(header.total()).unwrap_or(u32::MAX),
        };
        self.index.push(id, position).map_err(|hole| {
            let last = self.index.last().map(|last| last.to_string());
            (format!("the entry after {last:?}"), hole.to_string())
        })
    }

    /// The log, unless entries that should be alive are in no segment.
    pub(super) fn finish(
        self,
        disk: &dyn Disk,
        oldest: &Segment,
    ) -> Result<(Option<Vote>, Index), LogError> {
        let alive_from = self.index.purged().map_or(0, |purged| purged.index + 1);
        if alive_from < self.missing_below {
            let expected =
                format!("entries {alive_from} to {} in older segments", self.missing_below - 1);
            return Err(corrupt(disk, &oldest.file.name, 0, expected, "no older segment"));
        }
        Ok((self.vote, self.index))
    }
}
