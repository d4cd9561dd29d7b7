//! A leaf under construction: keys and entries unpacked, to be packed into one leaf or two.

use std::sync::Arc;

use super::IndexEntry;
use super::leaf::{Column, HAS_LEASE, HAS_SUB, Leaf, Shape, age_of, flags_of, write_uint};
use super::node::Summary;
use crate::types::Revision;

/// The most keys of a leaf. Splits halve it, so a leaf holds some 64 on average.
pub(super) const MAX_KEYS: usize = 96;
/// A leaf of several keys is split above this: every change of a key rewrites its leaf.
pub(super) const MAX_BYTES: usize = 8 << 10;

/// Sorted keys with their entries.
#[derive(Default)]
pub(super) struct Draft {
    keys: Vec<u8>,
    ends: Vec<usize>,
    entries: Vec<IndexEntry>,
}

impl Draft {
    /// Room for one full leaf.
    pub(super) fn new() -> Self {
        Self {
            keys: Vec::with_capacity(MAX_BYTES),
            ends: Vec::with_capacity(MAX_KEYS + 1),
            entries: Vec::with_capacity(MAX_KEYS + 1),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn key_bytes(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn key(&self, at: usize) -> &[u8] {
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.keys[start..self.ends[at]]
    }

    pub(super) fn last_key(&self) -> Option<&[u8]> {
        self.len().checked_sub(1).map(|last| self.key(last))
    }

    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.ends.clear();
        self.entries.clear();
    }

    /// Adds a key above all others.
    pub(super) fn push(&mut self, key: &[u8], entry: IndexEntry) {
        debug_assert!(self.last_key().is_none_or(|last| last < key), "keys come in order");
        self.push_parts(key, &[], entry);
    }

    fn push_parts(&mut self, prefix: &[u8], suffix: &[u8], entry: IndexEntry) {
        self.keys.extend_from_slice(prefix);
        self.keys.extend_from_slice(suffix);
        self.ends.push(self.keys.len());
        self.entries.push(entry);
    }

    /// Adds some rows of a leaf, above all others.
    pub(super) fn push_rows(&mut self, leaf: &Leaf, rows: std::ops::Range<usize>) {
        let (bytes, shape) = (leaf.bytes(), leaf.shape());
        for row in rows {
            let (prefix, suffix) = (shape.prefix(bytes), shape.suffix(bytes, row));
            self.push_parts(prefix, suffix, shape.entry(bytes, row));
        }
    }

    /// Whether this must become two leaves: too many keys, or too many bytes in several of them.
    pub(super) fn is_too_large(&self, packed_len: usize) -> bool {
        self.len() > MAX_KEYS || (packed_len > MAX_BYTES && self.len() > 1)
    }

    /// Where to cut in two: in the middle of the keys or, when it is their length that matters, of
    /// their bytes; at the end when keys arrive in order, so that full leaves stay full.
    pub(super) fn split_point(&self, inserted_at: usize) -> usize {
        let last = self.len() - 1;
        if inserted_at == last && last > MAX_KEYS / 2 {
            return last;
        }
        if self.len() > MAX_KEYS {
            return self.len() / 2;
        }
        let half = self.keys.len() / 2;
        self.ends.partition_point(|end| *end <= half).clamp(1, last)
    }

    /// Packs the keys `range` into a leaf.
    pub(super) fn pack(&self, range: std::ops::Range<usize>) -> (Leaf, Summary) {
        let entries = &self.entries[range.clone()];
        let prefix_len = common_len(self.key(range.start), self.key(range.end - 1));
        let suffix_bytes = (range.clone()).map(|at| self.key(at).len() - prefix_len).sum::<usize>();
        let (shape, summary) = measure(entries, prefix_len, suffix_bytes);
        let mut out = Vec::with_capacity(
            shape.suffixes_at() + suffix_bytes + shape.leases * 10 + shape.subs * 6,
        );
        shape.encode(&mut out);
        out.extend_from_slice(&self.key(range.start)[..prefix_len]);
        let mut end = 0;
        for (at, entry) in range.clone().zip(entries) {
            end += self.key(at).len() - prefix_len;
            write_row(&mut out, &shape, end, entry);
        }
        for at in range {
            out.extend_from_slice(&self.key(at)[prefix_len..]);
        }
        write_lists(&mut out, entries);
        (Leaf(Arc::from(out)), summary)
    }
}

fn write_row(out: &mut Vec<u8>, shape: &Shape, end: usize, entry: &IndexEntry) {
    let difference = |column: Column, value: u64| (value.wrapping_sub(column.base), column.width);
    let age = age_of(entry, shape.age.base);
    write_uint(out, end as u64, shape.end_width);
    for (value, width) in [
        difference(shape.modified, entry.modified.main.get().cast_unsigned()),
        difference(shape.age, age),
        difference(shape.version, entry.version.get().cast_unsigned()),
        difference(shape.value_len, u64::from(entry.value_len)),
        (u64::from(flags_of(entry)), shape.flags_width),
    ] {
        write_uint(out, value, width);
    }
}

fn write_lists(out: &mut Vec<u8>, entries: &[IndexEntry]) {
    for (row, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.lease.is_some()) {
        write_uint(out, row as u64, 2);
        write_uint(out, entry.lease.get().cast_unsigned(), 8);
    }
    for (row, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.modified.sub != 0) {
        write_uint(out, row as u64, 2);
        write_uint(out, u64::from(entry.modified.sub), 4);
    }
}

/// The narrowest widths that hold all entries, and the subtree's summary.
fn measure(entries: &[IndexEntry], prefix_len: usize, suffix_bytes: usize) -> (Shape, Summary) {
    let mut modified = Spread::default();
    let (mut age, mut version, mut value_len) = (modified, modified, modified);
    let (mut flags, mut leases, mut subs, mut tombstones) = (0, 0, 0, 0);
    let mut max_modified = Revision(0);
    for entry in entries {
        let row_flags = flags_of(entry);
        modified.add(entry.modified.main.get().cast_unsigned());
        version.add(entry.version.get().cast_unsigned());
        value_len.add(u64::from(entry.value_len));
        if entry.created != Revision(0) {
            age.add(age_of(entry, 0));
        }
        flags |= row_flags;
        leases += usize::from(row_flags & HAS_LEASE != 0);
        subs += usize::from(row_flags & HAS_SUB != 0);
        tombstones += usize::from(entry.tombstone);
        max_modified = max_modified.max(entry.modified.main);
    }
    let shape = Shape {
        count: entries.len(),
        prefix_len,
        end_width: if u16::try_from(suffix_bytes).is_ok() { 2 } else { 4 },
        modified: modified.column(),
        age: age.column(),
        version: version.column(),
        value_len: value_len.column(),
        flags_width: usize::from(flags != 0),
        leases,
        subs,
    };
    let count = entries.len();
    (shape, Summary { entries: count, live: count - tombstones, max_modified })
}

/// The smallest and largest value seen.
#[derive(Clone, Copy)]
struct Spread {
    min: u64,
    max: u64,
}

impl Default for Spread {
    fn default() -> Self {
        Self { min: u64::MAX, max: 0 }
    }
}

impl Spread {
    fn add(&mut self, value: u64) {
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    fn column(self) -> Column {
        if self.min > self.max {
            return Column::default();
        }
        let bits = u64::BITS - (self.max - self.min).leading_zeros();
        Column { base: self.min, width: bits.div_ceil(8) as usize }
    }
}

/// How many bytes two keys have in common at their start.
pub(super) fn common_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
