//! Some 64 keys with their entries as one immutable run of bytes.
//!
//! ```text
//! header   44 bytes, see `Shape::parse`
//! prefix   what all keys begin with
//! rows     one per key, all of one length: end of the suffix, then each field as the difference from
//!          the leaf's smallest, in as many bytes as the largest difference of the leaf needs
//! suffixes what follows the prefix, one key after the other
//! leases   (row, lease) of the rows that have one
//! subs     (row, sub revision) of the rows where it is not 0
//! ```
//! Numbers are little-endian. `created` is kept as the distance to `modified`, which is 0 for every key
//! that was put once, and so takes no byte at all in most leaves.

use std::cmp::Ordering;
use std::sync::Arc;

use super::IndexEntry;
use crate::types::{LeaseId, Revision, RevisionKey, Version};

pub(super) const HEADER_LEN: usize = 44;
pub(super) const LEASE_LEN: usize = 2 + 8;
pub(super) const SUB_LEN: usize = 2 + 4;

/// The row's entry is a tombstone.
pub(super) const TOMBSTONE: u8 = 1;
/// `created` is 0, as on tombstones: its distance to `modified` would widen the whole leaf.
pub(super) const CREATED_ZERO: u8 = 2;
/// The row is in the list of leases.
pub(super) const HAS_LEASE: u8 = 4;
/// The row is in the list of sub revisions.
pub(super) const HAS_SUB: u8 = 8;

/// A packed leaf. Never empty. `clone` shares.
#[derive(Clone)]
pub(super) struct Leaf(pub(super) Arc<[u8]>);

/// A column: the smallest value of the leaf, and how many bytes a difference from it takes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Column {
    pub(super) base: u64,
    pub(super) width: usize,
}

impl Column {
    /// The value at `at`, and where the next column starts.
    fn read(self, bytes: &[u8], at: usize) -> (u64, usize) {
        (self.base.wrapping_add(read_uint(bytes, at, self.width)), at + self.width)
    }

    /// Whether a value can be written without widening the column.
    pub(super) fn holds(self, value: u64) -> bool {
        let difference = value.wrapping_sub(self.base);
        self.width == 8 || difference >> (8 * self.width) == 0
    }
}

/// The decoded header: where everything is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shape {
    pub(super) count: usize,
    pub(super) prefix_len: usize,
    pub(super) end_width: usize,
    pub(super) modified: Column,
    pub(super) age: Column,
    pub(super) version: Column,
    pub(super) value_len: Column,
    pub(super) flags_width: usize,
    pub(super) leases: usize,
    pub(super) subs: usize,
}

impl Shape {
    fn parse(bytes: &[u8]) -> Self {
        let int = |at, width| read_uint(bytes, at, width);
        let length = |at, width| read_len(bytes, at, width);
        let small = |at| usize::from(bytes[at]);
        let column = |base, width| Column { base, width };
        Self {
            count: length(0, 2),
            end_width: small(2),
            age: column(int(24, 8), small(3)),
            modified: column(int(16, 8), small(4)),
            version: column(int(32, 8), small(5)),
            value_len: column(int(40, 4), small(6)),
            flags_width: small(7),
            prefix_len: length(8, 4),
            leases: length(12, 2),
            subs: length(14, 2),
        }
    }

    /// The header's bytes, the inverse of `parse`.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut write = |value: u64, width: usize| write_uint(out, value, width);
        write(self.count as u64, 2);
        for width in [
            self.end_width,
            self.age.width,
            self.modified.width,
            self.version.width,
            self.value_len.width,
            self.flags_width,
        ] {
            write(width as u64, 1);
        }
        write(self.prefix_len as u64, 4);
        write(self.leases as u64, 2);
        write(self.subs as u64, 2);
        write(self.modified.base, 8);
        write(self.age.base, 8);
        write(self.version.base, 8);
        write(self.value_len.base, 4);
    }

    pub(super) const fn row_len(&self) -> usize {
        self.end_width
            + self.modified.width
            + self.age.width
            + self.version.width
            + self.value_len.width
            + self.flags_width
    }

    pub(super) const fn rows_at(&self) -> usize {
        HEADER_LEN + self.prefix_len
    }

    pub(super) const fn row_at(&self, row: usize) -> usize {
        self.rows_at() + row * self.row_len()
    }

    pub(super) const fn suffixes_at(&self) -> usize {
        self.row_at(self.count)
    }

    fn leases_at(&self, bytes: &[u8]) -> usize {
        bytes.len() - self.subs * SUB_LEN - self.leases * LEASE_LEN
    }

    pub(super) fn prefix<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[HEADER_LEN..self.rows_at()]
    }

    fn suffix_end(&self, bytes: &[u8], row: usize) -> usize {
        read_len(bytes, self.row_at(row), self.end_width)
    }

    pub(super) fn suffix<'a>(&self, bytes: &'a [u8], row: usize) -> &'a [u8] {
        let start = if row == 0 { 0 } else { self.suffix_end(bytes, row - 1) };
        let at = self.suffixes_at();
        &bytes[at + start..at + self.suffix_end(bytes, row)]
    }

    fn flags(&self, bytes: &[u8], row: usize) -> u8 {
        match self.flags_width {
            0 => 0,
            _ => bytes[self.row_at(row + 1) - 1],
        }
    }

    pub(super) fn is_tombstone(&self, bytes: &[u8], row: usize) -> bool {
        self.flags(bytes, row) & TOMBSTONE != 0
    }

    /// Only the main revision of the newest change: enough to pass over a row.
    pub(super) fn modified_main(&self, bytes: &[u8], row: usize) -> Revision {
        let (modified, _) = self.modified.read(bytes, self.row_at(row) + self.end_width);
        Revision(modified.cast_signed())
    }

    pub(super) fn entry(&self, bytes: &[u8], row: usize) -> IndexEntry {
        let at = self.row_at(row) + self.end_width;
        let (modified, at) = self.modified.read(bytes, at);
        let (age, at) = self.age.read(bytes, at);
        let (version, at) = self.version.read(bytes, at);
        let (value_len, _) = self.value_len.read(bytes, at);
        let flags = self.flags(bytes, row);
        let created = if flags & CREATED_ZERO != 0 { 0 } else { modified.wrapping_sub(age) };
        let sub = if flags & HAS_SUB != 0 { self.sub(bytes, row) } else { 0 };
        let lease = if flags & HAS_LEASE != 0 { self.lease(bytes, row) } else { LeaseId::NONE };
        IndexEntry {
            created: Revision(created.cast_signed()),
            modified: RevisionKey { main: Revision(modified.cast_signed()), sub },
            version: Version(version.cast_signed()),
            lease,
            value_len: low_u32(value_len),
            tombstone: flags & TOMBSTONE != 0,
        }
    }

    fn lease(&self, bytes: &[u8], row: usize) -> LeaseId {
        let list = self.leases_at(bytes);
        let at = find_row(bytes, list, LEASE_LEN, self.leases, row);
        LeaseId(read_uint(bytes, at, 8).cast_signed())
    }

    fn sub(&self, bytes: &[u8], row: usize) -> u32 {
        read_u32(bytes, self.sub_at(bytes, row))
    }

    fn sub_at(&self, bytes: &[u8], row: usize) -> usize {
        let list = bytes.len() - self.subs * SUB_LEN;
        find_row(bytes, list, SUB_LEN, self.subs, row)
    }

    /// The row of a key, or the row it would be inserted at.
    pub(super) fn search(&self, bytes: &[u8], key: &[u8]) -> Result<usize, usize> {
        let prefix = self.prefix(bytes);
        let (head, suffix) = key.split_at(key.len().min(prefix.len()));
        match head.cmp(prefix) {
            Ordering::Less => return Err(0),
            Ordering::Greater => return Err(self.count),
            Ordering::Equal => {}
        }
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.suffix(bytes, middle).cmp(suffix) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return Ok(middle),
            }
        }
        Err(low)
    }

    /// The first row whose key is not below `key`.
    pub(super) fn lower_bound(&self, bytes: &[u8], key: &[u8]) -> usize {
        self.search(bytes, key).unwrap_or_else(|row| row)
    }

    /// Rows below `row` that are not tombstones.
    pub(super) fn live_before(&self, bytes: &[u8], row: usize) -> usize {
        match self.flags_width {
            0 => row,
            _ => (0..row).filter(|&row| !self.is_tombstone(bytes, row)).count(),
        }
    }
}

impl Leaf {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn shape(&self) -> Shape {
        Shape::parse(&self.0)
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<IndexEntry> {
        let shape = self.shape();
        let row = shape.search(&self.0, key).ok()?;
        Some(shape.entry(&self.0, row))
    }

    /// Writes `entry` over a row's entry if every field keeps its width and nothing but numbers
    /// changes. Copies the bytes if another tree shares them. `false` if the leaf must be packed anew.
    pub(super) fn overwrite(&mut self, shape: &Shape, row: usize, entry: &IndexEntry) -> bool {
        let old_flags = shape.flags(&self.0, row);
        let flags = flags_of(entry);
        let same_flags = if shape.flags_width == 0 { flags == 0 } else { flags == old_flags };
        // Only with the same flags is the row in the lists that are looked into here.
        let writable =
            same_flags && (flags & HAS_LEASE == 0 || shape.lease(&self.0, row) == entry.lease);
        if !writable {
            return false;
        }
        let values = [
            (shape.modified, entry.modified.main.get().cast_unsigned()),
            (shape.age, age_of(entry, shape.age.base)),
            (shape.version, entry.version.get().cast_unsigned()),
            (shape.value_len, u64::from(entry.value_len)),
        ];
        if !values.iter().all(|(column, value)| column.holds(*value)) {
            return false;
        }
        let mut at = shape.row_at(row) + shape.end_width;
        let bytes = Arc::make_mut(&mut self.0);
        for (column, value) in values {
            let difference = value.wrapping_sub(column.base).to_le_bytes();
            bytes[at..at + column.width].copy_from_slice(&difference[..column.width]);
            at += column.width;
        }
        if flags & HAS_SUB != 0 {
            let at = shape.sub_at(bytes, row);
            bytes[at..at + 4].copy_from_slice(&entry.modified.sub.to_le_bytes());
        }
        true
    }
}

/// A row's flags, from its entry.
pub(super) fn flags_of(entry: &IndexEntry) -> u8 {
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    flag(entry.tombstone, TOMBSTONE)
        | flag(created_is_zero(entry), CREATED_ZERO)
        | flag(entry.lease.is_some(), HAS_LEASE)
        | flag(entry.modified.sub != 0, HAS_SUB)
}

fn created_is_zero(entry: &IndexEntry) -> bool {
    entry.created == Revision(0)
}

/// The distance from creation to the newest change; `unused` where a flag says it all.
pub(super) fn age_of(entry: &IndexEntry, unused: u64) -> u64 {
    if created_is_zero(entry) {
        return unused;
    }
    entry.modified.main.get().cast_unsigned().wrapping_sub(entry.created.get().cast_unsigned())
}

/// Where the payload of a row is in a list sorted by row; the row's flag says that it is there.
fn find_row(bytes: &[u8], list: usize, item_len: usize, items: usize, row: usize) -> usize {
    let (mut low, mut high) = (0, items);
    while low < high {
        let middle = low + (high - low) / 2;
        if read_len(bytes, list + middle * item_len, 2) < row {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    list + low * item_len + 2
}

/// `width` bytes at `at`, as a number.
pub(super) fn read_uint(bytes: &[u8], at: usize, width: usize) -> u64 {
    let mut number = [0; 8];
    number[..width].copy_from_slice(&bytes[at..at + width]);
    u64::from_le_bytes(number)
}

/// A number of at most 4 bytes that counts something in memory.
fn read_len(bytes: &[u8], at: usize, width: usize) -> usize {
    low_u32(read_uint(bytes, at, width)) as usize
}

pub(super) fn read_u32(bytes: &[u8], at: usize) -> u32 {
    low_u32(read_uint(bytes, at, 4))
}

/// A number that was written from 32 bits.
#[expect(clippy::cast_possible_truncation, reason = "only 32 bits were written")]
fn low_u32(value: u64) -> u32 {
    debug_assert!(u32::try_from(value).is_ok());
    value as u32
}

/// The lowest `width` bytes of a number.
pub(super) fn write_uint(out: &mut Vec<u8>, value: u64, width: usize) {
    out.extend_from_slice(&value.to_le_bytes()[..width]);
}
