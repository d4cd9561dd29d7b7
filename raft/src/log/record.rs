//! Records: the bytes of one log operation, so framed that a crash's damage can be told from any other.
//!
//! ```text
//! offset  bytes
//!      0      4  payload length
//!      4      1  kind
//!      5      3  zero
//!      8      4  group (0 until a log carries several)
//!     12      4  durable: the segment was flushed up to here when the record was made
//!     16      8  epoch of the segment
//!     24      4  CRC32 of bytes 0..24 and the payload
//!     28      4  CRC32 of bytes 0..28
//!     32         payload, one mark byte, zeros up to a multiple of 8
//! ```
//! All numbers are little-endian. Segments are filled with zeros first and a crash leaves each sector either as it
//! was or as written. So a sector of a record that was lost shows as zeros, and because of the mark no
//! written last sector does; a header with its own CRC says where the sectors of the payload lie.

use crate::disk::SECTOR;

/// Bytes before the payload.
pub(super) const HEADER: usize = 32;
/// Records begin at multiples of this.
pub(super) const ALIGN: usize = 8;
/// Follows each payload. Has several bits set: no single flip makes it a zero.
const MARK: u8 = 0x5A;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A log entry.
    Entry,
    /// This member's vote from now on.
    Vote,
    /// Entries after a position are gone.
    Truncate,
    /// Entries up to a position are gone.
    Purge,
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Self::Entry => 1,
            Self::Vote => 2,
            Self::Truncate => 3,
            Self::Purge => 4,
        }
    }

    const fn of(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Entry),
            2 => Some(Self::Vote),
            3 => Some(Self::Truncate),
            4 => Some(Self::Purge),
            _ => None,
        }
    }
}

/// A checked header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) len: u32,
    pub(super) kind: Kind,
    pub(super) group: u32,
    /// Everything of this segment before here was on disk when the record was made.
    pub(super) durable: u32,
    pub(super) epoch: u64,
    crc: u32,
}

impl Header {
    /// Bytes of the whole record in the segment.
    pub(super) const fn total(&self) -> usize {
        total(self.len as usize)
    }
}

/// Bytes that a record with this payload takes.
pub(super) const fn total(payload: usize) -> usize {
    (HEADER + payload + 1).next_multiple_of(ALIGN)
}

/// Appends one record; `payload` writes its bytes.
///
/// # Panics
/// If the payload is 4 GiB or more; requests are refused long before.
pub(super) fn encode(
    out: &mut Vec<u8>,
    kind: Kind,
    epoch: u64,
    durable: u32,
    payload: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER]);
    payload(out);
    let len = out.len() - start - HEADER;
    let len32 = u32::try_from(len).expect("a record's payload is below 4 GiB");
    out.push(MARK);
    out.resize(start + total(len), 0);
    let (header, rest) = out[start..].split_at_mut(HEADER);
    header[0..4].copy_from_slice(&len32.to_le_bytes());
    header[4] = kind.byte();
    header[12..16].copy_from_slice(&durable.to_le_bytes());
    header[16..24].copy_from_slice(&epoch.to_le_bytes());
    let crc = payload_crc(header, &rest[..len]);
    header[24..28].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32fast::hash(&header[..28]);
    header[28..32].copy_from_slice(&crc.to_le_bytes());
}

fn payload_crc(header: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header[..24]);
    hasher.update(payload);
    hasher.finalize()
}

/// Why there is no record here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Absent {
    /// Nothing of this segment: zeros where the header would be, because nothing was written or its sector was lost,
    /// or an older segment's record.
    Nothing,
    /// Something is here that was not written as it is.
    Damaged {
        /// What had to be there.
        expected: String,
        /// What was there.
        found: String,
        /// A sector of the record shows as zeros, as one that never reached the disk.
        lost_sector: bool,
    },
}

/// The header at `offset`, checked by itself, with the record wholly inside `segment`.
pub(super) fn header_at(segment: &[u8], offset: usize, epoch: u64) -> Result<Header, Absent> {
    let damaged = |expected: String, found: String, end: usize| {
        let lost_sector = lost_sector(segment, offset, end);
        Absent::Damaged { expected, found, lost_sector }
    };
    let Some(bytes) = segment.get(offset..offset + HEADER) else { return Err(Absent::Nothing) };
    if bytes.iter().all(|byte| *byte == 0) {
        return Err(Absent::Nothing);
    }
    let end = offset + HEADER;
    let (expected, found) = (crc32fast::hash(&bytes[..28]), u32_at(bytes, 28));
    if expected != found {
        return Err(damaged(format!("header CRC {expected:08x}"), format!("{found:08x}"), end));
    }
    let header_epoch = u64_at(bytes, 16);
    if header_epoch < epoch {
        // A whole header of an older segment in the same blocks: to this segment it is nothing.
        return Err(Absent::Nothing);
    }
    if header_epoch != epoch {
        return Err(damaged(format!("epoch {epoch}"), format!("epoch {header_epoch}"), end));
    }
    let Some(kind) = Kind::of(bytes[4]) else {
        return Err(damaged("a known record kind".to_owned(), format!("kind {}", bytes[4]), end));
    };
    let (len, group) = (u32_at(bytes, 0), u32_at(bytes, 8));
    let crc = u32_at(bytes, 24);
    let header = Header { len, kind, group, durable: u32_at(bytes, 12), epoch, crc };
    let room = segment.len() - offset;
    if header.total() > room {
        let found = format!("a record of {} bytes", header.total());
        return Err(damaged(format!("at most {room} bytes"), found, end));
    }
    Ok(header)
}

/// The record at `offset`: its checked header and payload.
pub(super) fn record_at(
    segment: &[u8],
    offset: usize,
    epoch: u64,
) -> Result<(Header, &[u8]), Absent> {
    let header = header_at(segment, offset, epoch)?;
    let bytes = &segment[offset..offset + header.total()];
    let (head, rest) = bytes.split_at(HEADER);
    let (payload, ending) = rest.split_at(header.len as usize);
    let damaged = |expected: String, found: String| {
        let lost_sector = lost_sector(segment, offset, offset + HEADER + payload.len() + 1);
        Absent::Damaged { expected, found, lost_sector }
    };
    let crc = payload_crc(head, payload);
    if crc != header.crc {
        return Err(damaged(format!("CRC {crc:08x}"), format!("{:08x}", header.crc)));
    }
    if ending[0] != MARK || ending[1..].iter().any(|byte| *byte != 0) {
        return Err(damaged("the record's end mark".to_owned(), format!("{ending:02x?}")));
    }
    Ok((header, payload))
}

/// Whether some sector's share of `offset..end` is all zeros.
fn lost_sector(segment: &[u8], offset: usize, end: usize) -> bool {
    let mut from = offset;
    while from < end {
        let to = (from + SECTOR - from % SECTOR).min(end);
        if segment[from..to].iter().all(|byte| *byte == 0) {
            return true;
        }
        from = to;
    }
    false
}

/// A little-endian number inside checked bounds.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

/// A little-endian number inside checked bounds.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}
