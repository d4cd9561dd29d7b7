//! The write side: operations become records, records become writes, full segments make way for new ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::LogOptions;
use super::index::{Index, Position};
use super::record::{self, Kind};
use super::segment::{self, SegmentHeader};
use crate::disk::{Completion, Disk, FileName, Op};
use crate::types::Vote;

/// How far the log is durable, as one number that only grows: a segment's epoch and an offset in it.
#[derive(Debug, Default)]
pub(super) struct Durable(AtomicU64);

impl Durable {
    /// Everything before `end` of segment `epoch` is on disk.
    pub(super) fn advance(&self, epoch: u64, end: u64) {
        debug_assert!(end <= segment::MAX_BYTES && u32::try_from(epoch).is_ok());
        self.0.fetch_max(epoch << 32 | end, Ordering::AcqRel);
    }

    /// How much of segment `epoch` is known to be on disk.
    fn offset_in(&self, epoch: u64) -> u32 {
        let mark = self.0.load(Ordering::Acquire);
        if mark >> 32 == epoch { (mark & segment::MAX_BYTES) as u32 } else { 0 }
    }

    /// Whether this record is on disk.
    pub(super) fn covers(&self, position: Position) -> bool {
        let end = u64::from(position.offset) + u64::from(position.len);
        self.0.load(Ordering::Acquire) >= (position.epoch << 32 | end)
    }
}

/// Where the next record goes.
#[derive(Debug)]
pub(super) struct Writer {
    disk: Arc<dyn Disk>,
    durable: Arc<Durable>,
    segment_bytes: u64,
    epoch: u64,
    file: FileName,
    /// Size of the current segment.
    bytes: u64,
    /// Where the next record begins in it.
    end: u64,
    /// Records made but not submitted yet; they end at `end`.
    pending: Vec<u8>,
}

/// Where recovery found the end of the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resume {
    pub(super) epoch: u64,
    pub(super) bytes: u64,
    pub(super) end: u64,
}

impl Writer {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        durable: Arc<Durable>,
        options: &LogOptions,
        at: Resume,
    ) -> Self {
        durable.advance(at.epoch, at.end);
        Self {
            disk,
            durable,
            segment_bytes: options.segment_bytes,
            epoch: at.epoch,
            file: segment::file_name(at.epoch),
            bytes: at.bytes,
            end: at.end,
            pending: Vec::new(),
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Makes one record; a new segment begins with what `vote` and `index` say **before** it.
    pub(super) fn push(
        &mut self,
        kind: Kind,
        vote: Option<Vote>,
        index: &Index,
        payload: impl Fn(&mut Vec<u8>),
    ) -> Position {
        let start = self.pending.len();
        self.encode(kind, &payload);
        let mut len = (self.pending.len() - start) as u64;
        if self.end + len > self.bytes {
            self.pending.truncate(start);
            self.roll(vote, index, len);
            self.encode(kind, &payload);
            len = self.pending.len() as u64;
        }
        let fits = "segments and records are below 4 GiB";
        let position = Position {
            epoch: self.epoch,
            offset: u32::try_from(self.end).expect(fits),
            len: u32::try_from(len).expect(fits),
        };
        self.end += len;
        position
    }

    fn encode(&mut self, kind: Kind, payload: impl Fn(&mut Vec<u8>)) {
        let durable = self.durable.offset_in(self.epoch);
        record::encode(&mut self.pending, kind, self.epoch, durable, payload);
    }

    /// Hands over what was made since the last submission; `done` hears when it is durable.
    pub(super) fn submit(&mut self, done: impl FnOnce(Outcome) + Send + 'static) {
        let (durable, epoch, end) = (Arc::clone(&self.durable), self.epoch, self.end);
        let done: Completion = Box::new(move |result| {
            if result.is_ok() {
                durable.advance(epoch, end);
            }
            done(result);
        });
        self.write_pending(Some(done));
    }

    fn write_pending(&mut self, done: Option<Completion>) {
        let bytes = std::mem::take(&mut self.pending);
        let offset = self.end - bytes.len() as u64;
        self.disk.submit(Op::Write { file: self.file.clone(), offset, bytes }, done);
    }

    /// Begins a segment that has room for a record of `len`.
    fn roll(&mut self, vote: Option<Vote>, index: &Index, len: u64) {
        if !self.pending.is_empty() {
            self.write_pending(None);
        }
        let header = SegmentHeader {
            epoch: self.epoch + 1,
            bytes: self.segment_bytes.max(segment::HEADER as u64 + len),
            previous_end: self.end,
            vote,
            purged: index.purged(),
            last: index.last(),
        };
        self.epoch = header.epoch;
        self.file = segment::file_name(header.epoch);
        self.bytes = header.bytes;
        self.end = segment::HEADER as u64;
        let (file, len) = (self.file.clone(), header.bytes);
        self.disk.submit(Op::Create { file, len, head: header.encode() }, None);
    }

    /// Deletes a segment nothing alive lies in, once everything submitted before is durable.
    pub(super) fn remove(&self, epoch: u64) {
        debug_assert!(epoch < self.epoch);
        self.disk.submit(Op::Remove { file: segment::file_name(epoch) }, None);
    }
}

/// What a submission came to.
pub(super) type Outcome = Result<(), crate::disk::DiskError>;
