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

use std::fs::File;
use std::io::{self, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};

use super::draft::common_len;
use super::leaf::{
    CREATED_ZERO, HAS_LEASE, HAS_SUB, TOMBSTONE, age_of, flags_of, read_u32, read_uint,
};
use super::{Builder, Index, IndexEntry};
use crate::atomic_file::AtomicFile;
use crate::error::Fatal;
use crate::mvcc::key_range::KeyRange;
use crate::types::{LeaseId, LogIndex, Revision, RevisionKey, Version};

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
    let mut source = Source {
        path: path.to_owned(),
        file: BufReader::with_capacity(256 << 10, file),
        offset: 0,
    };
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

/// A block being filled.
#[derive(Default)]
struct BlockWriter {
    payload: Vec<u8>,
    entries: u32,
    last_key: Vec<u8>,
    last_modified: i64,
}

impl BlockWriter {
    fn push(&mut self, key: &[u8], entry: &IndexEntry) {
        let shared = common_len(&self.last_key, key);
        let flags = flags_of(entry);
        let out = &mut self.payload;
        put_varint(out, shared as u64);
        put_varint(out, (key.len() - shared) as u64);
        out.extend_from_slice(&key[shared..]);
        out.push(flags);
        let modified = entry.modified.main.get();
        put_varint(out, zigzag(modified.wrapping_sub(self.last_modified)));
        if flags & CREATED_ZERO == 0 {
            put_varint(out, age_of(entry, 0));
        }
        put_varint(out, entry.version.get().cast_unsigned());
        put_varint(out, u64::from(entry.value_len));
        if flags & HAS_LEASE != 0 {
            out.extend_from_slice(&entry.lease.get().to_le_bytes());
        }
        if flags & HAS_SUB != 0 {
            put_varint(out, u64::from(entry.modified.sub));
        }
        self.entries += 1;
        self.last_modified = modified;
        self.last_key.truncate(shared);
        self.last_key.extend_from_slice(&key[shared..]);
    }

    /// Writes the block and starts the next. Gives the bytes written.
    fn write(&mut self, file: &mut AtomicFile) -> io::Result<usize> {
        let length = u32::try_from(self.payload.len()).map_err(io::Error::other)?;
        let crc = block_crc(length, self.entries, &self.payload);
        for number in [length, self.entries, crc] {
            file.write_all(&number.to_le_bytes())?;
        }
        file.write_all(&self.payload)?;
        self.payload.clear();
        self.last_key.clear();
        (self.entries, self.last_modified) = (0, 0);
        Ok(BLOCK_HEADER_LEN + length as usize)
    }
}

fn block_crc(length: u32, entries: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length.to_le_bytes());
    hasher.update(&entries.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

struct Block {
    payload: Vec<u8>,
    entries: u32,
    /// Where it begins in the file.
    offset: u64,
}

struct Source {
    path: PathBuf,
    file: BufReader<File>,
    offset: u64,
}

impl Source {
    fn corrupt(&self, offset: u64, expected: &str, found: impl Into<String>) -> Fatal {
        Fatal::Corrupt {
            location: format!("{} at offset {offset}", self.path.display()),
            expected: expected.to_owned(),
            found: found.into(),
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Fatal> {
        self.file.read_exact(bytes).map_err(|error| {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                self.corrupt(self.offset, "more bytes", "the end of the file")
            } else {
                Fatal::io(&self.path, "reading the index checkpoint", &error)
            }
        })?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn header(&mut self) -> Result<Header, Fatal> {
        let mut bytes = [0; HEADER_LEN];
        self.fill(&mut bytes)?;
        let [revision, compacted, applied] = [8, 16, 24].map(|at| read_uint(&bytes, at, 8));
        let compacted = compacted.cast_signed();
        let header = Header {
            revision: Revision(revision.cast_signed()),
            compact_revision: (compacted != NO_COMPACTION).then_some(Revision(compacted)),
            applied: LogIndex(applied),
        };
        if encode_header(&header) != bytes {
            return Err(self.corrupt(0, "an index checkpoint of format 1", "another header"));
        }
        Ok(header)
    }

    /// The next block; `None` at a footer that agrees with the entries so far.
    fn block(&mut self, entries_before: u64) -> Result<Option<Block>, Fatal> {
        let offset = self.offset;
        let mut header = [0; BLOCK_HEADER_LEN];
        self.fill(&mut header)?;
        let [length, entries, crc] = [0, 4, 8].map(|at| read_u32(&header, at));
        if length == 0 {
            return self.footer(offset, &header, entries_before).map(|()| None);
        }
        if length > MAX_BLOCK_BYTES {
            return Err(self.corrupt(offset, "a block length", length.to_string()));
        }
        let mut payload = vec![0; length as usize];
        self.fill(&mut payload)?;
        let found = block_crc(length, entries, &payload);
        if found != crc {
            let expected = format!("CRC {crc:08x}");
            return Err(self.corrupt(offset, &expected, format!("{found:08x}")));
        }
        Ok(Some(Block { payload, entries, offset }))
    }

    fn footer(&mut self, offset: u64, start: &[u8], entries: u64) -> Result<(), Fatal> {
        let mut bytes = [0; FOOTER_LEN];
        let (head, tail) = bytes.split_at_mut(BLOCK_HEADER_LEN);
        head.copy_from_slice(start);
        self.fill(tail)?;
        if bytes != encode_footer(entries) {
            let expected = format!("a footer for {entries} entries");
            return Err(self.corrupt(offset, &expected, "another"));
        }
        match self.file.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.corrupt(self.offset, "the end of the file", "more bytes")),
            Err(error) => Err(Fatal::io(&self.path, "reading the index checkpoint", &error)),
        }
    }

    fn decode(&self, block: &Block, builder: &mut Builder) -> Result<(), Fatal> {
        let mut reader = BlockReader { rest: &block.payload, key: Vec::new(), modified: 0 };
        for _ in 0..block.entries {
            let added = reader.entry().is_some_and(|entry| builder.push(&reader.key, entry));
            if !added {
                return Err(self.corrupt(block.offset, "entries in order", "another block"));
            }
        }
        match reader.rest {
            [] => Ok(()),
            rest => {
                let found = format!("{} bytes more", rest.len());
                Err(self.corrupt(block.offset, "the end of the block", found))
            }
        }
    }
}

/// Entries of a block. `None` for anything a writer would not write.
struct BlockReader<'a> {
    rest: &'a [u8],
    key: Vec<u8>,
    modified: i64,
}

impl BlockReader<'_> {
    fn entry(&mut self) -> Option<IndexEntry> {
        let shared = usize::try_from(self.varint()?).ok()?;
        let suffix = usize::try_from(self.varint()?).ok()?;
        if shared > self.key.len() {
            return None;
        }
        self.key.truncate(shared);
        let (suffix, rest) = self.rest.split_at_checked(suffix)?;
        self.key.extend_from_slice(suffix);
        self.rest = rest;
        let flags = self.byte()?;
        let delta = unzigzag(self.varint()?);
        self.modified = self.modified.wrapping_add(delta);
        let created = match flags & CREATED_ZERO {
            0 => self.modified.wrapping_sub(self.varint()?.cast_signed()),
            _ => 0,
        };
        let version = self.varint()?.cast_signed();
        let value_len = u32::try_from(self.varint()?).ok()?;
        let lease = if flags & HAS_LEASE == 0 { 0 } else { self.fixed()?.cast_signed() };
        let sub = if flags & HAS_SUB == 0 { 0 } else { u32::try_from(self.varint()?).ok()? };
        Some(IndexEntry {
            created: Revision(created),
            modified: RevisionKey { main: Revision(self.modified), sub },
            version: Version(version),
            lease: LeaseId(lease),
            value_len,
            tombstone: flags & TOMBSTONE != 0,
        })
    }

    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    fn fixed(&mut self) -> Option<u64> {
        let (bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(u64::from_le_bytes(*bytes))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Small differences of either sign as small numbers.
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}
