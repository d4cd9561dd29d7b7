//! Segments: names, and the header that lets older segments go.
//!
//! ```text
//! offset  bytes
//!      0      8  magic
//!      8      4  format version
//!     12      4  which of the following are set: 1 vote, 2 vote is committed, 4 purged, 8 last
//!     16      8  epoch: 1 for the first segment ever, then one more each
//!     24      8  bytes of this segment, header included
//!     32      8  end of the records of the segment before
//!     40     16  vote: term, node
//!     56     16  purged: term, index
//!     72     16  last entry before this segment: term, index
//!     88     36  zero
//!    124      4  CRC32 of bytes 0..124
//! ```
//! A segment gets its name when its header is durable, and not before all that went before it is: a named segment
//! without a valid header is damage, never a crash's trace.

use super::codec::{decode_log_id, encode_log_id};
use super::record::{u32_at, u64_at};
use crate::disk::FileName;
use crate::types::{LeaderId, RaftLogId, Vote};
use openraft::vote::RaftLeaderId;

/// Bytes before the first record.
pub(super) const HEADER: usize = 128;
/// The largest segment: offsets are 32-bit.
pub(super) const MAX_BYTES: u64 = u32::MAX as u64;

const MAGIC: &[u8; 8] = b"VETCHLOG";
const VERSION: u32 = 1;
const SUFFIX: &str = ".log";

const HAS_VOTE: u32 = 1;
const VOTE_COMMITTED: u32 = 2;
const HAS_PURGED: u32 = 4;
const HAS_LAST: u32 = 8;

/// What a segment says about itself and about everything before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) epoch: u64,
    pub(super) bytes: u64,
    /// Where the records of the segment before end; 0 in the first.
    pub(super) previous_end: u64,
    pub(super) vote: Option<Vote>,
    pub(super) purged: Option<RaftLogId>,
    /// The last entry before this segment, purged or not.
    pub(super) last: Option<RaftLogId>,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.flags().to_le_bytes());
        for number in [self.epoch, self.bytes, self.previous_end] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        let (term, node) =
            self.vote.map_or((0, 0), |vote| (vote.leader_id.term, vote.leader_id.voted_for));
        out.extend_from_slice(&term.to_le_bytes());
        out.extend_from_slice(&node.to_le_bytes());
        for id in [&self.purged, &self.last] {
            match id {
                Some(id) => encode_log_id(id, &mut out),
                None => out.extend_from_slice(&[0; 16]),
            }
        }
        out.resize(HEADER - 4, 0);
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    fn flags(&self) -> u32 {
        let committed = self.vote.is_some_and(|vote| vote.committed);
        [
            (self.vote.is_some(), HAS_VOTE),
            (committed, VOTE_COMMITTED),
            (self.purged.is_some(), HAS_PURGED),
            (self.last.is_some(), HAS_LAST),
        ]
        .into_iter()
        .fold(0, |flags, (set, flag)| if set { flags | flag } else { flags })
    }

    /// `Err` is what had to be there and what was.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, (String, String)> {
        let Some(bytes) = bytes.get(..HEADER) else {
            return Err((format!("{HEADER} bytes of header"), format!("{} bytes", bytes.len())));
        };
        let (crc, stored) = (crc32fast::hash(&bytes[..HEADER - 4]), u32_at(bytes, HEADER - 4));
        if bytes[..8] != *MAGIC {
            return Err(("a segment of a Vetch log".to_owned(), hex(&bytes[..8])));
        }
        if crc != stored {
            return Err((format!("header CRC {crc:08x}"), format!("{stored:08x}")));
        }
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return Err((format!("log format {VERSION}"), format!("log format {version}")));
        }
        let flags = u32_at(bytes, 12);
        let position = |flag, at: usize| {
            if flags & flag == 0 { None } else { decode_log_id(&bytes[at..at + 16]) }
        };
        let leader_id = LeaderId::new(u64_at(bytes, 40), u64_at(bytes, 48));
        let vote = Vote { leader_id, committed: flags & VOTE_COMMITTED != 0 };
        Ok(Self {
            epoch: u64_at(bytes, 16),
            bytes: u64_at(bytes, 24),
            previous_end: u64_at(bytes, 32),
            vote: (flags & HAS_VOTE != 0).then_some(vote),
            purged: position(HAS_PURGED, 56),
            last: position(HAS_LAST, 72),
        })
    }
}

/// The file of a segment; names sort as epochs do.
pub(super) fn file_name(epoch: u64) -> FileName {
    FileName::new(format!("{epoch:016x}{SUFFIX}"))
}

/// The epoch of a segment's file; `None` for files of another kind.
pub(super) fn epoch_of(name: &FileName) -> Option<u64> {
    let digits = name.as_str().strip_suffix(SUFFIX)?;
    let epoch = u64::from_str_radix(digits, 16).ok()?;
    (file_name(epoch) == *name).then_some(epoch)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}
