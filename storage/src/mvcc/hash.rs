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

use std::ops::Bound;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::combine::Combiner;
use super::index::IndexEntry;
use super::key_range::KeyRange;
use super::reader::Reader;
use super::wire;
use crate::courtesy::courteously;
use crate::engine::{Engine, Family, Order};
use crate::error::{ApplyError, Fatal, ReadError};
use crate::schema::change::{self, ChangeRecord};
use crate::schema::checksum::corrupt;
use crate::schema::state::{self, CompactionHash, CompactionHashes, StateKey};
use crate::schema::version::{self, VersionRecord};
use crate::types::{Revision, RevisionKey};
use crate::view::HashKv;

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

/// Answers `HashKV`; see `ReadView::hash_kv`.
pub(crate) fn hash_kv<E: Engine>(
    reader: &Reader<'_, E>,
    asked: Revision,
) -> Result<HashKv, ReadError> {
    if let Some(stored) = stored_hash(reader.engine, asked)? {
        return Ok(stored);
    }
    if asked > reader.revision {
        return Err(ApplyError::FutureRevision { current: reader.revision }.into());
    }
    if asked.0 > 0 {
        reader.check_compacted(asked)?;
    }
    let revision = if asked.0 == 0 { reader.revision } else { asked };
    let compacted = reader.compacted.unwrap_or(Revision::NEVER_COMPACTED);
    let hasher = Hasher::new(reader, revision, compacted, false)?;
    let (hash, named) = hash_changes(reader, hasher)?;
    let hash = if stored_versions(reader, &hasher)? == named {
        hash
    } else {
        hash_stored(reader, hasher)?
    };
    Ok(HashKv { hash, compact_revision: compacted.0, hash_revision: revision })
}

/// A set of changes, whatever their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ChangeSet {
    len: u64,
    /// Sum of hashes of the changes' places and checksums.
    sum: u64,
}

impl ChangeSet {
    fn add(&mut self, change: &ChangeRecord) {
        let at = change.entry.modified;
        let mut fact = [0; 16];
        fact[..8].copy_from_slice(&at.main.0.to_le_bytes());
        fact[8..12].copy_from_slice(&at.sub.to_le_bytes());
        fact[12..].copy_from_slice(&change.hash.to_le_bytes());
        self.len += 1;
        self.sum = self.sum.wrapping_add(xxh3_64(&fact));
    }
}

fn changes<'a, E: Engine>(
    reader: &Reader<'a, E>,
    until: Revision,
) -> impl Iterator<Item = Result<ChangeRecord, Fatal>> + 'a {
    let bounds = change::bounds(RevisionKey::default(), until);
    let scan = courteously(reader.engine.scan(Family::Revisions, bounds, Order::Ascending));
    scan.map(|item| item.and_then(|(key, value)| ChangeRecord::decode(&key, &value)))
}

/// The hash by the checksums in the change records, and which changes it is of.
fn hash_changes<E: Engine>(
    reader: &Reader<'_, E>,
    mut hasher: Hasher,
) -> Result<(u32, ChangeSet), Fatal> {
    let mut named = ChangeSet::default();
    for change in changes(reader, hasher.revision) {
        let change = change?;
        if hasher.add(reader, &change)? {
            named.add(&change);
        }
    }
    Ok((hasher.finish(), named))
}

/// The changes of the hash as the stored versions are, read in their own order.
fn stored_versions<E: Engine>(reader: &Reader<'_, E>, hasher: &Hasher) -> Result<ChangeSet, Fatal> {
    let mut stored = ChangeSet::default();
    let all = (Bound::Unbounded, Bound::Unbounded);
    for item in courteously(reader.engine.scan(Family::Versions, all, Order::Ascending)) {
        let (engine_key, value) = item?;
        let (record, long_key) = VersionRecord::decode(&engine_key, &value)?;
        let key = long_key.or_else(|| version::short_key(&engine_key));
        let Some(key) = key else {
            return Err(corrupt(
                Family::Versions,
                &engine_key,
                "a key of a version",
                "other bytes",
            ));
        };
        let change = change_of(key, &record);
        if hasher.includes(reader, &change)? {
            stored.add(&change);
        }
    }
    Ok(stored)
}

/// The change that made a version.
fn change_of(key: Bytes, record: &VersionRecord) -> ChangeRecord {
    let entry = record.entry();
    let hash = change_hash(&key, &entry, &record.value);
    ChangeRecord { key, entry, previous: None, hash }
}

/// The hash of what is stored, change by change: names what is missing, and differs from that of other
/// members where a record does.
fn hash_stored<E: Engine>(reader: &Reader<'_, E>, mut hasher: Hasher) -> Result<u32, Fatal> {
    for change in changes(reader, hasher.revision) {
        hasher.add_stored(reader, &change?)?;
    }
    Ok(hasher.finish())
}

/// The hash a compaction to this revision has taken, if it is one of the last ten.
fn stored_hash<E: Engine>(engine: &E, revision: Revision) -> Result<Option<HashKv>, Fatal> {
    let mut hashes = compaction_hashes(engine)?.into_iter();
    Ok(hashes.find(|hash| hash.hash_revision == revision))
}

/// See `ReadView::compaction_hashes`.
pub(crate) fn compaction_hashes<E: Engine>(engine: &E) -> Result<Vec<HashKv>, Fatal> {
    let hash_kv = |stored: CompactionHash| HashKv {
        hash: stored.hash,
        compact_revision: stored.previous,
        hash_revision: Revision(stored.revision),
    };
    Ok(stored_hashes(engine)?.hashes.into_iter().map(hash_kv).collect())
}

/// The hashes of the last compactions, oldest first.
pub(crate) fn stored_hashes<E: Engine>(engine: &E) -> Result<CompactionHashes, Fatal> {
    let key = StateKey::CompactionHashes.encode();
    match engine.get(Family::State, &key)? {
        Some(value) => state::decode(&key, &value),
        None => Ok(CompactionHashes::default()),
    }
}

/// Adds a hash; the oldest of more than ten goes.
pub(crate) fn remember(hashes: &mut CompactionHashes, hash: CompactionHash) {
    const KEEP: usize = 10;
    hashes.hashes.retain(|stored| stored.revision != hash.revision);
    hashes.hashes.push(hash);
    hashes.hashes.sort_by_key(|stored| stored.revision);
    let surplus = hashes.hashes.len().saturating_sub(KEEP);
    hashes.hashes.drain(..surplus);
}
