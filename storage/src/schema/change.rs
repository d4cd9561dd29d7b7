//! Family `Revisions`: one record per change, in the order of history.
//!
//! Key: main (8 bytes), sub (4).
//!
//! Value: flags (1: tombstone, 2: lease, 4: previous); unless a tombstone: varint main − created, varint
//! version, lease (8 bytes, if flagged), varint value length; if flagged: varint main − previous main,
//! varint previous sub, varint previous value length; CRC-32C of the change as `HashKV` sees it (4 bytes); the
//! user key; CRC-32.
//!
//! Holding all index facts, a scan of this family rebuilds the index without reading a value; holding
//! the superseded version, it tells compaction what to delete without a look into `Versions`.

use std::ops::Bound;

use bytes::{Buf, Bytes};
use prost::encoding::{decode_varint, encode_varint};

use super::checksum;
use crate::engine::{Bounds, Family};
use crate::error::Fatal;
use crate::mvcc::index::IndexEntry;
use crate::types::{LeaseId, Revision, RevisionKey, Version};

const TOMBSTONE: u8 = 1;
const LEASED: u8 = 2;
const PREVIOUS: u8 = 4;

/// The live version that a change superseded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Previous {
    pub(crate) at: RevisionKey,
    pub(crate) value_len: u32,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChangeRecord {
    pub(crate) key: Bytes,
    pub(crate) entry: IndexEntry,
    /// `None` when the key did not exist before.
    pub(crate) previous: Option<Previous>,
    /// What the change adds to `HashKV`, see [`crate::mvcc::hash`]: lets a compaction take its hash
    /// without reading a value.
    pub(crate) hash: u32,
}

impl ChangeRecord {
    /// The engine's key and value, and the checksum in the value.
    pub(crate) fn encode(&self) -> (Bytes, Bytes, u32) {
        let entry = &self.entry;
        let main = entry.modified.main.0;
        let key = engine_key(entry.modified);
        let mut body = Vec::with_capacity(self.key.len() + 40);
        let leased = !entry.tombstone && entry.lease.is_some();
        body.push(
            u8::from(entry.tombstone) * TOMBSTONE
                + u8::from(leased) * LEASED
                + u8::from(self.previous.is_some()) * PREVIOUS,
        );
        if !entry.tombstone {
            encode_varint((main - entry.created.0).cast_unsigned(), &mut body);
            encode_varint(entry.version.0.cast_unsigned(), &mut body);
            if leased {
                body.extend_from_slice(&entry.lease.0.to_be_bytes());
            }
            encode_varint(u64::from(entry.value_len), &mut body);
        }
        if let Some(previous) = self.previous {
            encode_varint((main - previous.at.main.0).cast_unsigned(), &mut body);
            encode_varint(u64::from(previous.at.sub), &mut body);
            encode_varint(u64::from(previous.value_len), &mut body);
        }
        body.extend_from_slice(&self.hash.to_be_bytes());
        body.extend_from_slice(&self.key);
        let (value, crc) = checksum::seal(&key, body);
        (key, value, crc)
    }

    /// Reads a stored pair back.
    pub(crate) fn decode(key: &[u8], value: &Bytes) -> Result<Self, Fatal> {
        let body = checksum::unseal(Family::Revisions, key, value)?;
        Self::parse(key, body).ok_or_else(|| {
            checksum::corrupt(Family::Revisions, key, "a change record", "other bytes")
        })
    }

    fn parse(key: &[u8], mut body: Bytes) -> Option<Self> {
        let modified = revision_of(key)?;
        let flags = body.try_get_u8().ok()?;
        let mut entry = IndexEntry {
            created: Revision(0),
            modified,
            version: Version(0),
            lease: LeaseId::NONE,
            value_len: 0,
            tombstone: flags & TOMBSTONE != 0,
        };
        if !entry.tombstone {
            let age = decode_varint(&mut body).ok()?.cast_signed();
            entry.created = Revision(modified.main.0.checked_sub(age)?);
            entry.version = Version(decode_varint(&mut body).ok()?.cast_signed());
            if flags & LEASED != 0 {
                entry.lease = LeaseId(body.try_get_i64().ok()?);
            }
            entry.value_len = decode_varint(&mut body).ok()?.try_into().ok()?;
        }
        let mut previous = None;
        if flags & PREVIOUS != 0 {
            let age = decode_varint(&mut body).ok()?.cast_signed();
            previous = Some(Previous {
                at: RevisionKey {
                    main: Revision(modified.main.0.checked_sub(age)?),
                    sub: decode_varint(&mut body).ok()?.try_into().ok()?,
                },
                value_len: decode_varint(&mut body).ok()?.try_into().ok()?,
            });
        }
        let hash = body.try_get_u32().ok()?;
        Some(Self { key: body, entry, previous, hash })
    }
}

/// Where the change at `at` is stored.
pub(crate) fn engine_key(at: RevisionKey) -> Bytes {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&at.main.0.to_be_bytes());
    key[8..].copy_from_slice(&at.sub.to_be_bytes());
    Bytes::copy_from_slice(&key)
}

/// The engine keys of all changes from `first` to the end of revision `last`.
pub(crate) fn bounds(first: RevisionKey, last: Revision) -> Bounds {
    // There are none before revision 2, and the keys of negative ones would sort behind all others.
    let (first, last) = (first.max(RevisionKey::default()), last.max(Revision(0)));
    (
        Bound::Included(engine_key(first)),
        Bound::Included(engine_key(RevisionKey { main: last, sub: u32::MAX })),
    )
}

fn revision_of(key: &[u8]) -> Option<RevisionKey> {
    let (main, sub) = key.split_first_chunk::<8>()?;
    let sub: [u8; 4] = sub.try_into().ok()?;
    Some(RevisionKey { main: Revision(i64::from_be_bytes(*main)), sub: u32::from_be_bytes(sub) })
}

/// Names an engine key for an operator.
pub(crate) fn describe(key: &[u8]) -> String {
    match revision_of(key) {
        Some(at) => format!("revisions: revision {}.{}", at.main, at.sub),
        None => format!("revisions: engine key {}", key.escape_ascii()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_read_back_as_written() {
        let at = |main, sub| RevisionKey { main: Revision(main), sub };
        let put = IndexEntry {
            created: Revision(3),
            modified: at(900, 2),
            version: Version(300),
            lease: LeaseId(i64::MIN),
            value_len: 70_000,
            tombstone: false,
        };
        let deletion = IndexEntry {
            created: Revision(0),
            modified: at(901, 0),
            version: Version(0),
            lease: LeaseId::NONE,
            value_len: 0,
            tombstone: true,
        };
        for (entry, previous) in [
            (put, None),
            (IndexEntry { lease: LeaseId::NONE, ..put }, None),
            (put, Some(Previous { at: at(900, 1), value_len: 5 })),
            (deletion, Some(Previous { at: at(3, 77), value_len: 0 })),
        ] {
            let change =
                ChangeRecord { key: Bytes::from_static(b"\0key"), entry, previous, hash: 77 };
            let (key, value, _) = change.encode();
            assert_eq!(ChangeRecord::decode(&key, &value).unwrap(), change);
        }
    }

    #[test]
    fn history_order_is_byte_order() {
        let at = |main, sub| engine_key(RevisionKey { main: Revision(main), sub });
        assert!(at(2, 0) < at(2, 1) && at(2, 300) < at(3, 0) && at(255, 0) < at(256, 0));
        assert!(describe(&at(7, 1)).contains("7.1"));
    }
}
