//! `HashKV`: etcd's hash over all stored records, equal on all members and equal to etcd's.
//!
//! CRC-32C over `key`, then for each record in the order of history its key and value as etcd stores
//! them: main (8 bytes, big-endian), `_`, sub (8 bytes), `t` for a tombstone; then the canonical
//! `mvccpb.KeyValue`.
//!
//! CRCs of concatenations can be computed from the parts' CRCs and lengths, and every change record
//! holds its own: a compaction's hash reads no value. `HashKV` on request does read all values, because
//! whoever asks wants to know what the disk says. In the order of history that would be one random read
//! per record; so they are read in the order they lie in, and must be the ones that the change records
//! speak of.
//!
//! - `answer`: to `HashKV`. `kept`: the hashes of compactions.

use bytes::Bytes;

use super::combine::Combiner;
use super::index::IndexEntry;
use super::key_range::KeyRange;
use super::reader::Reader;
use super::wire;
use crate::engine::{Engine, Family, Order};
use crate::error::Fatal;
use crate::schema::change::{self, ChangeRecord};
use crate::types::{Revision, RevisionKey};

mod answer;
mod kept;

pub(crate) use answer::hash_kv;
pub(crate) use kept::{compaction_hashes, remember, stored_hashes};

/// How etcd stores the place of a change.
fn etcd_key(entry: &IndexEntry) -> ([u8; 18], usize) {
    let mut key = [0; 18];
    key[..8].copy_from_slice(&entry.modified.main.0.to_be_bytes());
    key[8] = b'_';
    key[9..17].copy_from_slice(&u64::from(entry.modified.sub).to_be_bytes());
    key[17] = b't';
    (key, if entry.tombstone { 18 } else { 17 })
}

/// Adds one change, key and value as etcd stores them, to a CRC-32C.
fn append(crc: u32, key: &[u8], entry: &IndexEntry, value: &[u8]) -> u32 {
    let (place, place_len) = etcd_key(entry);
    let mut head = Vec::with_capacity(key.len() + 48);
    wire::encode_head(key, entry, value.len(), &mut head);
    let mut crc = crc32c::crc32c_append(crc, &place[..place_len]);
    crc = crc32c::crc32c_append(crc, &head);
    if !entry.tombstone {
        let mut tail = Vec::new();
        wire::encode_tail(entry.lease, &mut tail);
        crc = crc32c::crc32c_append(crc, value);
        crc = crc32c::crc32c_append(crc, &tail);
    }
    crc
}

/// The CRC-32C of one change alone, kept in its change record.
pub(crate) fn change_hash(key: &[u8], entry: &IndexEntry, value: &[u8]) -> u32 {
    append(0, key, entry, value)
}

/// Length of what [`change_hash`] covers.
fn change_len(change: &ChangeRecord) -> usize {
    let entry = &change.entry;
    etcd_key(entry).1
        + wire::record_len(change.key.len(), entry, entry.value_len as usize, entry.lease)
}

/// A hash in the making, over the changes up to `revision` under the compacted revision `compacted`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hasher {
    crc: u32,
    combiner: Combiner,
    revision: Revision,
    compacted: Revision,
    /// Whether any record counts as kept; etcd filters by "kept" only if so.
    any_kept: bool,
}

impl Hasher {
    /// `compacted` is −1 before any compaction. `for_compaction`: a deletion at exactly `revision`
    /// counts as kept too.
    pub(crate) fn new<E: Engine>(
        reader: &Reader<'_, E>,
        revision: Revision,
        compacted: Revision,
        for_compaction: bool,
    ) -> Result<Self, Fatal> {
        let any_kept =
            any_lives(reader, revision)? || (for_compaction && any_deleted_at(reader, revision)?);
        let crc = crc32c::crc32c(b"key");
        Ok(Self { crc, combiner: Combiner::new(), revision, compacted, any_kept })
    }

    /// Whether a change is part of the hash. What a compaction has yet to delete is not, so that the
    /// answer does not depend on how far deletion is.
    fn includes<E: Engine>(
        &self,
        reader: &Reader<'_, E>,
        change: &ChangeRecord,
    ) -> Result<bool, Fatal> {
        let main = change.entry.modified.main;
        if main > self.revision || (main <= self.compacted && change.entry.tombstone) {
            return Ok(false);
        }
        if main > self.compacted {
            return Ok(true);
        }
        let until = if self.any_kept { self.revision } else { self.compacted };
        is_newest(reader, change, until)
    }

    /// Takes in a change by the checksum it carries; whether it is part of the hash.
    pub(crate) fn add<E: Engine>(
        &mut self,
        reader: &Reader<'_, E>,
        change: &ChangeRecord,
    ) -> Result<bool, Fatal> {
        let is_included = self.includes(reader, change)?;
        if is_included {
            self.crc = self.combiner.combine(self.crc, change.hash, change_len(change) as u64);
        }
        Ok(is_included)
    }

    /// Takes in a change by what is stored.
    fn add_stored<E: Engine>(
        &mut self,
        reader: &Reader<'_, E>,
        change: &ChangeRecord,
    ) -> Result<(), Fatal> {
        if self.includes(reader, change)? {
            let record = reader.version(&change.key, change.entry.modified)?;
            self.crc = append(self.crc, &change.key, &change.entry, &record.value);
        }
        Ok(())
    }

    /// The hash so far.
    pub(crate) fn finish(&self) -> u32 {
        self.crc
    }
}

/// Whether no other change of the key up to `until` is newer than this one.
pub(crate) fn is_newest<E: Engine>(
    reader: &Reader<'_, E>,
    change: &ChangeRecord,
    until: Revision,
) -> Result<bool, Fatal> {
    let modified = change.entry.modified;
    match reader.index.get(&change.key) {
        Some(now) if now.modified.main <= until => Ok(now.modified == modified),
        Some(_) => {
            let newest = reader.newest_at(&change.key, until)?;
            Ok(newest.is_some_and(|newest| newest.modified == modified))
        }
        None => Ok(false),
    }
}

fn any_lives<E: Engine>(reader: &Reader<'_, E>, at: Revision) -> Result<bool, Fatal> {
    let all = KeyRange::From(Bytes::new());
    let live = reader.index.count(&all);
    let changed = reader.index.changed_since(&all, at).filter(|(_, now)| !now.tombstone).count();
    if live > changed as u64 {
        return Ok(true);
    }
    for (key, now) in reader.index.changed_since(&all, at) {
        if reader.entry_at(&key, now, at)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn any_deleted_at<E: Engine>(reader: &Reader<'_, E>, at: Revision) -> Result<bool, Fatal> {
    let bounds = change::bounds(RevisionKey { main: at, sub: 0 }, at);
    for item in reader.engine.scan(Family::Revisions, bounds, Order::Ascending) {
        let (key, value) = item?;
        let change = ChangeRecord::decode(&key, &value)?;
        if change.entry.tombstone && is_newest(reader, &change, at)? {
            return Ok(true);
        }
    }
    Ok(false)
}
