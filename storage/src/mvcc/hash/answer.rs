//! The answer to `HashKV`.

use std::ops::Bound;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::kept::stored_hash;
use super::{Hasher, change_hash};
use crate::courtesy::courteously;
use crate::engine::{Engine, Family, Order};
use crate::error::{ApplyError, Fatal, ReadError};
use crate::mvcc::reader::Reader;
use crate::schema::change::{self, ChangeRecord};
use crate::schema::checksum::corrupt;
use crate::schema::version::{self, VersionRecord};
use crate::types::{Revision, RevisionKey};
use crate::view::HashKv;

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
