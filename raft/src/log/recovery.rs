//! From segments back to a log: replays every record, and tells a crash's trace from damage.
//!
//! A crash can only hurt what was not flushed yet: the end of the last segment, where sectors may be
//! missing in any order. Three facts pin that down. A record names how far its segment was flushed
//! when it was made, so anything wrong before that point of any later record is damage. A sector that
//! was never written shows as zeros, so wrong bytes without a lost sector are damage even in the very
//! last record. And a segment is named only when all before it is flushed, so only the last one may
//! end early. Everything else is refused with file and offset.
//!
//! The road not taken: to call any valid record behind a gap damage. Devices write the sectors of one
//! flush in any order, so that a power cut in the middle of a group commit would often stop a healthy member.

mod replay;
mod scan;

use std::sync::Arc;

use vetch_storage::Planted;

use super::LogOptions;
use super::error::{Corrupt, LogError};
use super::index::Index;
use super::record;
use super::segment::{self, SegmentHeader};
use super::writer::Resume;
use crate::disk::{Disk, FileInfo, Op, complete};
use crate::types::Vote;
use replay::Replay;
use scan::Scan;

/// What the segments say.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) vote: Option<Vote>,
    pub(super) index: Index,
    pub(super) oldest_epoch: u64,
    pub(super) resume: Resume,
    /// One past the last byte of the last segment that is not zero, if that is behind the log's end.
    pub(super) leftover_end: u64,
}

/// Opens the log for appending: replays it, clears what a crash left behind its end, and makes sure of what an earlier
/// process may not have flushed. A log that is damaged is left as it is.
pub(super) async fn open(
    disk: &Arc<dyn Disk>,
    options: &LogOptions,
) -> Result<Recovered, LogError> {
    match inspect(&**disk)? {
        Some(recovered) => {
            recovered.seal(&**disk).await?;
            Ok(recovered)
        }
        None => begin(&**disk, options).await,
    }
}

/// The first segment of a new log.
async fn begin(disk: &dyn Disk, options: &LogOptions) -> Result<Recovered, LogError> {
    let bytes = options.segment_bytes.max(segment::HEADER as u64);
    let header =
        SegmentHeader { epoch: 1, bytes, previous_end: 0, vote: None, purged: None, last: None };
    let file = segment::file_name(header.epoch);
    complete(disk, Op::Create { file, len: bytes, head: header.encode() }).await?;
    let end = segment::HEADER as u64;
    Ok(Recovered {
        vote: None,
        index: Index::default(),
        oldest_epoch: header.epoch,
        resume: Resume { epoch: header.epoch, bytes, end },
        leftover_end: end,
    })
}

/// Replays the log without changing anything; `None` when there is none.
pub(super) fn inspect(disk: &dyn Disk) -> Result<Option<Recovered>, LogError> {
    let segments = segments(disk)?;
    let Some(last) = segments.last() else { return Ok(None) };
    let mut replay = Replay::new(&segments[0].header);
    for pair in segments.windows(2) {
        let bytes = load(disk, &pair[0])?;
        Scan::new(disk, &pair[0], &bytes).whole(&mut replay, pair[1].header.previous_end)?;
        replay.check_header(disk, &pair[1])?;
    }
    let bytes = load(disk, last)?;
    let end = Scan::new(disk, last, &bytes).last(&mut replay)?;
    let header = &last.header;
    let leftover_end = scan::written_end(&bytes, end) as u64;
    let kept = Planted::TornTailKept.is_on();
    let end = if kept { leftover_end.next_multiple_of(record::ALIGN as u64) } else { end as u64 };
    let resume = Resume { epoch: header.epoch, bytes: header.bytes, end };
    let oldest_epoch = segments[0].header.epoch;
    let (vote, index) = replay.finish(disk, &segments[0])?;
    Ok(Some(Recovered { vote, index, oldest_epoch, resume, leftover_end }))
}

impl Recovered {
    async fn seal(&self, disk: &dyn Disk) -> Result<(), LogError> {
        let Resume { epoch, end, .. } = self.resume;
        let file = segment::file_name(epoch);
        if self.leftover_end > end {
            tracing::info!(%file, offset = end, bytes = self.leftover_end - end,
                "clearing what an interrupted write left behind the log's end");
            let len = usize::try_from(self.leftover_end - end).unwrap_or(usize::MAX);
            let zeros = Op::Write { file: file.clone(), offset: end, bytes: vec![0; len] };
            complete(disk, zeros).await?;
        }
        // A killed process leaves its writes to the kernel: they are readable and may still be lost with the power. What
        // is handed to consensus from here counts as durable.
        Ok(complete(disk, Op::Sync { file }).await?)
    }
}

/// One named segment with its checked header.
#[derive(Debug)]
struct Segment {
    file: FileInfo,
    header: SegmentHeader,
}

/// The log's segments, oldest first, without a gap.
fn segments(disk: &dyn Disk) -> Result<Vec<Segment>, LogError> {
    let mut segments: Vec<Segment> = Vec::new();
    for file in disk.list()? {
        let Some(epoch) = segment::epoch_of(&file.name) else { continue };
        let next = segments.last().map_or(epoch, |last| last.header.epoch + 1);
        if next != epoch {
            let missing = segment::file_name(next);
            return Err(corrupt(disk, &missing, 0, "this segment", "no such file"));
        }
        segments.push(read_header(disk, file, epoch)?);
    }
    Ok(segments)
}

fn read_header(disk: &dyn Disk, file: FileInfo, epoch: u64) -> Result<Segment, LogError> {
    let head = disk.read(&file.name, 0, segment::HEADER)?;
    let header = SegmentHeader::decode(&head)
        .map_err(|(expected, found)| corrupt(disk, &file.name, 0, expected, found))?;
    if header.epoch != epoch {
        let found = format!("epoch {}", header.epoch);
        return Err(corrupt(disk, &file.name, 16, format!("epoch {epoch}"), found));
    }
    if header.bytes != file.len || header.bytes > segment::MAX_BYTES {
        let (expected, found) = (format!("{} bytes", header.bytes), format!("{} bytes", file.len));
        return Err(corrupt(disk, &file.name, file.len.min(header.bytes), expected, found));
    }
    Ok(Segment { file, header })
}

fn load(disk: &dyn Disk, segment: &Segment) -> Result<Vec<u8>, LogError> {
    let name = &segment.file.name;
    let len = usize::try_from(segment.file.len).unwrap_or(usize::MAX);
    let bytes = disk.read(name, 0, len)?;
    if bytes.len() != len {
        let (expected, found) = (format!("{len} bytes"), format!("{} bytes", bytes.len()));
        return Err(corrupt(disk, name, bytes.len() as u64, expected, found));
    }
    Ok(bytes)
}

fn corrupt(
    disk: &dyn Disk,
    file: &crate::disk::FileName,
    offset: u64,
    expected: impl Into<String>,
    found: impl Into<String>,
) -> LogError {
    let (expected, found) = (expected.into(), found.into());
    Corrupt { file: disk.path(file), offset, expected, found }.into()
}
