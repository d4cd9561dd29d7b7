//! Bytes of a chunk.
//!
//! ```text
//! chunk:  number u32, CRC-32 of number and items u32, items
//! item:   kind u8 and then
//!         pair (family + 1): key length varint, key, value length varint, value
//!         end (FF): pairs u64, sum u64 of all pairs
//! ```
//! Little endian. The end is the last item of the last chunk.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::encoding::{decode_varint, encode_varint};
use xxhash_rust::xxh3::Xxh3;

use crate::engine::Family;

const HEADER_BYTES: usize = 8;
const END: u8 = 0xff;

/// Why a chunk was not taken. The sender may send it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// Its bytes are not those that were sent.
    #[error("chunk {expected} is damaged: its checksum does not fit")]
    Damaged {
        /// The chunk that was due.
        expected: u32,
    },
    /// A chunk is missing, or came again.
    #[error("chunk {found} came where chunk {expected} is due")]
    OutOfOrder {
        /// The chunk that is due.
        expected: u32,
        /// The one that came.
        found: u32,
    },
    /// Checksum and number fit, the contents do not: the sender writes another format.
    #[error("chunk {number} holds what this version does not know")]
    Unknown {
        /// Its number.
        number: u32,
    },
}

/// What all pairs of a snapshot amount to, whatever their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Total {
    pub(super) pairs: u64,
    /// Sum of the pairs' hashes.
    pub(super) sum: u64,
}

impl Total {
    pub(super) fn add(&mut self, family: Family, key: &[u8], value: &[u8]) {
        let mut hash = Xxh3::new();
        hash.update(&[kind(family)]);
        hash.update(&(key.len() as u64).to_le_bytes());
        hash.update(key);
        hash.update(value);
        self.pairs += 1;
        self.sum = self.sum.wrapping_add(hash.digest());
    }
}

/// One thing in a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Pair { family: Family, key: Bytes, value: Bytes },
    End(Total),
}

/// A chunk being made.
#[derive(Debug)]
pub(super) struct ChunkWriter {
    number: u32,
    bytes: BytesMut,
}

impl ChunkWriter {
    pub(super) fn new(number: u32) -> Self {
        let mut bytes = BytesMut::new();
        bytes.put_u32_le(number);
        bytes.put_u32_le(0);
        Self { number, bytes }
    }

    /// Bytes of the items.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - HEADER_BYTES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn pair(&mut self, family: Family, key: &[u8], value: &[u8]) {
        self.bytes.put_u8(kind(family));
        encode_varint(key.len() as u64, &mut self.bytes);
        self.bytes.put_slice(key);
        encode_varint(value.len() as u64, &mut self.bytes);
        self.bytes.put_slice(value);
    }

    pub(super) fn end(&mut self, total: Total) {
        self.bytes.put_u8(END);
        self.bytes.put_u64_le(total.pairs);
        self.bytes.put_u64_le(total.sum);
    }

    pub(super) fn finish(mut self) -> Bytes {
        let crc = checksum(self.number, &self.bytes[HEADER_BYTES..]);
        self.bytes[4..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
        self.bytes.freeze()
    }
}

/// The items of chunk `expected`.
pub(super) fn read(mut chunk: Bytes, expected: u32) -> Result<Vec<Item>, ChunkError> {
    let damaged = ChunkError::Damaged { expected };
    let number = chunk.try_get_u32_le().map_err(|_short| damaged)?;
    let crc = chunk.try_get_u32_le().map_err(|_short| damaged)?;
    if checksum(number, &chunk) != crc {
        return Err(damaged);
    }
    if number != expected {
        return Err(ChunkError::OutOfOrder { expected, found: number });
    }
    let mut items = Vec::new();
    while chunk.has_remaining() {
        items.push(item(&mut chunk).ok_or(ChunkError::Unknown { number })?);
    }
    Ok(items)
}

fn item(chunk: &mut Bytes) -> Option<Item> {
    let kind = chunk.try_get_u8().ok()?;
    if kind == END {
        let pairs = chunk.try_get_u64_le().ok()?;
        let sum = chunk.try_get_u64_le().ok()?;
        return Some(Item::End(Total { pairs, sum }));
    }
    let family = *Family::ALL.get(usize::from(kind).checked_sub(1)?)?;
    let key = field(chunk)?;
    let value = field(chunk)?;
    Some(Item::Pair { family, key, value })
}

fn field(chunk: &mut Bytes) -> Option<Bytes> {
    let len = usize::try_from(decode_varint(chunk).ok()?).ok()?;
    (len <= chunk.len()).then(|| chunk.split_to(len))
}

fn checksum(number: u32, items: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(items);
    hasher.finalize()
}

/// A family on the wire: its place among all, which never changes, and one.
fn kind(family: Family) -> u8 {
    match family {
        Family::Versions => 1,
        Family::Revisions => 2,
        Family::State => 3,
    }
}
