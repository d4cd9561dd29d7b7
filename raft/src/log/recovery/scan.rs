//! One segment's records, and where the last segment ends.

use super::replay::Replay;
use super::{Segment, corrupt};
use crate::disk::{Disk, FileName};
use crate::log::error::LogError;
use crate::log::record::{self, ALIGN, Absent, HEADER};
use crate::log::segment;

pub(super) struct Scan<'a> {
    disk: &'a dyn Disk,
    file: &'a FileName,
    epoch: u64,
    bytes: &'a [u8],
}

impl<'a> Scan<'a> {
    pub(super) fn new(disk: &'a dyn Disk, segment: &'a Segment, bytes: &'a [u8]) -> Self {
        Self { disk, file: &segment.file.name, epoch: segment.header.epoch, bytes }
    }

    /// Replays a segment that a later one follows: every record up to `end` must be there.
    pub(super) fn whole(&self, replay: &mut Replay, end: u64) -> Result<(), LogError> {
        let end_at = usize::try_from(end).unwrap_or(usize::MAX);
        let mut at = segment::HEADER;
        while at < end_at {
            at = match self.replay_at(replay, at)? {
                Ok(next) => next,
                Err(Absent::Nothing) => return Err(self.corrupt(at, "a record", "zeros")),
                Err(Absent::Damaged { expected, found, .. }) => {
                    return Err(self.corrupt(at, expected, found));
                }
            };
        }
        if at != end_at {
            let expected = format!("the last record's end at {end}");
            return Err(self.corrupt(at, expected, format!("its end at {at}")));
        }
        Ok(())
    }

    /// Replays the last segment and says where it ends.
    pub(super) fn last(&self, replay: &mut Replay) -> Result<usize, LogError> {
        let mut at = segment::HEADER;
        loop {
            match self.replay_at(replay, at)? {
                Ok(next) => at = next,
                Err(absent) => return self.check_tail(at, absent).map(|()| at),
            }
        }
    }

    /// The next record's offset, or why there is no record here.
    fn replay_at(&self, replay: &mut Replay, at: usize) -> Result<Result<usize, Absent>, LogError> {
        let (header, payload) = match record::record_at(self.bytes, at, self.epoch) {
            Ok(record) => record,
            Err(absent) => return Ok(Err(absent)),
        };
        replay
            .record(&header, payload, at)
            .map_err(|(expected, found)| self.corrupt(at, expected, found))?;
        Ok(Ok(at + header.total()))
    }

    /// Whether a crash explains that the records stop at `at`.
    fn check_tail(&self, at: usize, absent: Absent) -> Result<(), LogError> {
        if let Some((later, durable)) = self.find_durable_past(at) {
            let expected = format!(
                "a record: the one at offset {later} was made when {durable} bytes were on disk"
            );
            let found = match absent {
                Absent::Nothing => "zeros".to_owned(),
                Absent::Damaged { expected, found, .. } => format!("{found} instead of {expected}"),
            };
            return Err(self.corrupt(at, expected, found));
        }
        match absent {
            Absent::Nothing | Absent::Damaged { lost_sector: true, .. } => Ok(()),
            Absent::Damaged { expected, found, lost_sector: false } => {
                Err(self.corrupt(at, expected, found))
            }
        }
    }

    /// A valid record behind `at` that was made when `at` was on disk already.
    fn find_durable_past(&self, at: usize) -> Option<(usize, u32)> {
        let end = written_end(self.bytes, at);
        let epoch = self.epoch.to_le_bytes();
        let mut later = at;
        while later + HEADER <= end {
            // The epoch first: it settles nearly all places that hold no record.
            if self.bytes[later + 16..later + 24] == epoch
                && let Ok((header, _)) = record::record_at(self.bytes, later, self.epoch)
                && header.durable as usize > at
            {
                return Some((later, header.durable));
            }
            later += ALIGN;
        }
        None
    }

    fn corrupt(
        &self,
        at: usize,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> LogError {
        corrupt(self.disk, self.file, at as u64, expected, found)
    }
}

/// One past the last byte that is not zero, or `from` if there is none behind it.
pub(super) fn written_end(bytes: &[u8], from: usize) -> usize {
    const CHUNK: usize = 64 * 1024;
    static ZEROS: [u8; CHUNK] = [0; CHUNK];
    let mut end = bytes.len();
    while end > from {
        let start = from.max(end.saturating_sub(CHUNK));
        let chunk = &bytes[start..end];
        if *chunk != ZEROS[..chunk.len()] {
            let last = chunk.iter().rposition(|byte| *byte != 0);
            return last.map_or(from, |last| start + last + 1);
        }
        end = start;
    }
    from
}
