//! Entries of a block as bytes, and back.

use std::io::{self, Write as _};

use super::BLOCK_HEADER_LEN;
use crate::atomic_file::AtomicFile;
use crate::mvcc::index::IndexEntry;
use crate::mvcc::index::draft::common_len;
use crate::mvcc::index::leaf::{CREATED_ZERO, HAS_LEASE, HAS_SUB, TOMBSTONE, age_of, flags_of};
use crate::types::{LeaseId, Revision, RevisionKey, Version};

/// A block being filled.
#[derive(Default)]
pub(super) struct BlockWriter {
    pub(super) payload: Vec<u8>,
    pub(super) entries: u32,
    last_key: Vec<u8>,
    last_modified: i64,
}

impl BlockWriter {
    pub(super) fn push(&mut self, key: &[u8], entry: &IndexEntry) {
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
    pub(super) fn write(&mut self, file: &mut AtomicFile) -> io::Result<usize> {
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

pub(super) fn block_crc(length: u32, entries: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length.to_le_bytes());
    hasher.update(&entries.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

/// Entries of a block. `None` for anything a writer would not write.
pub(super) struct BlockReader<'a> {
    pub(super) rest: &'a [u8],
    pub(super) key: Vec<u8>,
    modified: i64,
}

impl<'a> BlockReader<'a> {
    pub(super) fn new(payload: &'a [u8]) -> Self {
        Self { rest: payload, key: Vec::new(), modified: 0 }
    }

    pub(super) fn entry(&mut self) -> Option<IndexEntry> {
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
