//! The entries of an index in a file, so that a restart need not read every version.
//!
//! ```text
//! header   magic with format version, revision, compacted revision, applied position, CRC
//! block    payload length, entries, CRC of these two and the payload, payload; about 64 KiB each
//! footer   0 in place of a length, entries of all blocks, CRC
//! ```
//! Numbers of fixed width are little-endian. Within a block an entry gives what its key shares with
//! the key before, and its numbers as differences; it depends on no other block, and nothing on how
//! the tree was laid out in memory.
//!
//! `block`: its entries. `source`: a file that is read.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use super::{Builder, Index};
use crate::atomic_file::AtomicFile;
use crate::error::Fatal;
use crate::mvcc::key_range::KeyRange;
use crate::types::{LogIndex, Revision};

mod block;
mod source;

use block::BlockWriter;
use source::Source;

/// "Vetch index", format version 1.
const MAGIC: [u8; 8] = *b"VTINDEX\x01";
const HEADER_LEN: usize = 8 + 8 + 8 + 8 + 4;
const BLOCK_HEADER_LEN: usize = 4 + 4 + 4;
const FOOTER_LEN: usize = 4 + 8 + 4;
/// A block is closed when it has grown to this.
const BLOCK_BYTES: usize = 64 << 10;
/// A length above this is damage: no key is longer than a request.
const MAX_BLOCK_BYTES: u32 = 64 << 20;
/// Stands for "never compacted".
const NO_COMPACTION: i64 = -1;

/// What state the entries belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The store's revision.
    pub revision: Revision,
    /// The last compacted revision; `None` before any compaction.
    pub compact_revision: Option<Revision>,
    /// The log position of the state.
    pub applied: LogIndex,
}

/// Writes a checkpoint, replacing the file at `path` once it is on disk. Gives its length.
pub fn write(path: &Path, header: &Header, index: &Index) -> Result<u64, Fatal> {
    write_file(path, header, index)
        .map_err(|error| Fatal::io(path, "writing the index checkpoint", &error))
}

fn write_file(path: &Path, header: &Header, index: &Index) -> io::Result<u64> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(&encode_header(header))?;
    let mut length = HEADER_LEN + FOOTER_LEN;
    let mut block = BlockWriter::default();
    let mut cursor = index.cursor(&KeyRange::From(bytes::Bytes::new()));
    let mut entries = 0_u64;
    while let Some((key, entry)) = cursor.next_entry() {
        block.push(key, &entry);
        entries += 1;
        if block.payload.len() >= BLOCK_BYTES {
            length += block.write(&mut file)?;
        }
    }
    if block.entries > 0 {
        length += block.write(&mut file)?;
    }
    file.write_all(&encode_footer(entries))?;
    file.commit()?;
    Ok(length as u64)
}

/// Reads a checkpoint; `None` if there is no file. Every byte is covered by a CRC: whatever differs
/// from what was written is [`Fatal::Corrupt`] with the file and the offset of the damaged block, and
/// the caller may rebuild the index from the engine instead.
pub fn read(path: &Path) -> Result<Option<(Header, Index)>, Fatal> {
    let io = |error: io::Error| Fatal::io(path, "reading the index checkpoint", &error);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    let mut source = Source::new(path, file);
    let header = source.header()?;
    let mut builder = Builder::new();
    let mut entries = 0;
    while let Some(block) = source.block(entries)? {
        entries += u64::from(block.entries);
        source.decode(&block, &mut builder)?;
    }
    Ok(Some((header, builder.finish())))
}

fn encode_header(header: &Header) -> [u8; HEADER_LEN] {
    let compacted = header.compact_revision.map_or(NO_COMPACTION, Revision::get);
    let mut bytes = [0; HEADER_LEN];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..16].copy_from_slice(&header.revision.get().to_le_bytes());
    bytes[16..24].copy_from_slice(&compacted.to_le_bytes());
    bytes[24..32].copy_from_slice(&header.applied.get().to_le_bytes());
    let crc = crc32fast::hash(&bytes[..32]);
    bytes[32..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn encode_footer(entries: u64) -> [u8; FOOTER_LEN] {
    let mut bytes = [0; FOOTER_LEN];
    bytes[4..12].copy_from_slice(&entries.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..12]);
    bytes[12..].copy_from_slice(&crc.to_le_bytes());
    bytes
}
