//! Family `Versions`: one record per put or deletion of a key, a key's records together, newest first.
//!
//! Key: stem of the user key ([`user_key`]), then `!main` (8 bytes) and `!sub` (4).
//!
//! Value: flags (1: tombstone, 2: lease, 4: long key); unless a tombstone: varint main − created, varint
//! version, lease (8 bytes, if flagged); varint length and whole user key (if flagged); the value; CRC-32.

use bytes::{Buf, Bytes};
use prost::encoding::{decode_varint, encode_varint};
use vetch_proto::mvccpb::KeyValue;

use super::{checksum, user_key};
use crate::engine::Family;
use crate::error::Fatal;
use crate::mvcc::index::IndexEntry;
use crate::types::{LeaseId, Revision, RevisionKey, Version};

const TOMBSTONE: u8 = 1;
const LEASED: u8 = 2;
const LONG_KEY: u8 = 4;
const REVISION_LEN: usize = 12;

/// One version of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VersionRecord {
    pub(crate) modified: RevisionKey,
    pub(crate) tombstone: bool,
    pub(crate) created: Revision,
    pub(crate) version: Version,
    pub(crate) lease: LeaseId,
    pub(crate) value: Bytes,
}

impl VersionRecord {
    /// What the index holds of it.
    pub(crate) fn entry(&self) -> IndexEntry {
        IndexEntry {
            created: self.created,
            modified: self.modified,
            version: self.version,
            lease: self.lease,
            value_len: u32::try_from(self.value.len()).expect("values are below 4 GiB"),
            tombstone: self.tombstone,
        }
    }

    /// As clients see it.
    pub(crate) fn into_key_value(self, key: Bytes) -> KeyValue {
        KeyValue {
            key,
            create_revision: self.created.0,
            mod_revision: self.modified.main.0,
            version: self.version.0,
            value: self.value,
            lease: self.lease.0,
        }
    }

    /// The engine's key and value, and the checksum in the value.
    pub(crate) fn encode(&self, user_key: &[u8]) -> (Bytes, Bytes, u32) {
        let key = engine_key(user_key, self.modified);
        let long = user_key::is_long(user_key);
        let mut body =
            Vec::with_capacity(self.value.len() + 40 + if long { user_key.len() } else { 0 });
        let leased = !self.tombstone && self.lease.is_some();
        body.push(
            u8::from(self.tombstone) * TOMBSTONE
                + u8::from(leased) * LEASED
                + u8::from(long) * LONG_KEY,
        );
        if !self.tombstone {
            encode_varint((self.modified.main.0 - self.created.0).cast_unsigned(), &mut body);
            encode_varint(self.version.0.cast_unsigned(), &mut body);
        }
        if leased {
            body.extend_from_slice(&self.lease.0.to_be_bytes());
        }
        if long {
            encode_varint(user_key.len() as u64, &mut body);
            body.extend_from_slice(user_key);
        }
        body.extend_from_slice(&self.value);
        let (value, crc) = checksum::seal(&key, body);
        (key, value, crc)
    }

    /// Reads a stored pair back; the second part is the user key if the record carries it.
    pub(crate) fn decode(key: &[u8], value: &Bytes) -> Result<(Self, Option<Bytes>), Fatal> {
        let body = checksum::unseal(Family::Versions, key, value)?;
        Self::parse(key, body).ok_or_else(|| {
            checksum::corrupt(Family::Versions, key, "a version record", "other bytes")
        })
    }

    fn parse(key: &[u8], mut body: Bytes) -> Option<(Self, Option<Bytes>)> {
        let modified = revision_of(key)?;
        let flags = body.try_get_u8().ok()?;
        let mut record = Self {
            modified,
            tombstone: flags & TOMBSTONE != 0,
            created: Revision(0),
            version: Version(0),
            lease: LeaseId::NONE,
            value: Bytes::new(),
        };
        if !record.tombstone {
            let age = decode_varint(&mut body).ok()?.cast_signed();
            record.created = Revision(modified.main.0.checked_sub(age)?);
            record.version = Version(decode_varint(&mut body).ok()?.cast_signed());
        }
        if flags & LEASED != 0 {
            record.lease = LeaseId(body.try_get_i64().ok()?);
        }
        let mut long_key = None;
        if flags & LONG_KEY != 0 {
            let len = usize::try_from(decode_varint(&mut body).ok()?).ok()?;
            if len > body.len() {
                return None;
            }
            long_key = Some(body.split_to(len));
        }
        record.value = body;
        Some((record, long_key))
    }
}

/// The user key in an engine key; `None` if it is a long one, which the record carries.
pub(crate) fn short_key(engine_key: &[u8]) -> Option<Bytes> {
    let (stem, _) = engine_key.split_last_chunk::<REVISION_LEN>()?;
    user_key::from_stem(stem).map(Bytes::from)
}

/// Where the version of `user_key` at `at` is stored. Smaller engine keys of the same user key are
/// newer versions.
pub(crate) fn engine_key(user_key: &[u8], at: RevisionKey) -> Bytes {
    let mut key = Vec::with_capacity(user_key.len() + 1 + REVISION_LEN);
    user_key::push_stem(&mut key, user_key);
    push_revision(&mut key, at);
    Bytes::from(key)
}

/// The engine keys of all versions of `user_key` that are not newer than `at`, newest first.
pub(crate) fn not_newer(user_key: &[u8], at: Revision) -> (Bytes, Bytes) {
    let mut first = Vec::with_capacity(user_key.len() + 1 + REVISION_LEN);
    user_key::push_stem(&mut first, user_key);
    let mut last = first.clone();
    push_revision(&mut first, RevisionKey { main: at, sub: u32::MAX });
    push_revision(&mut last, RevisionKey { main: Revision(0), sub: 0 });
    (Bytes::from(first), Bytes::from(last))
}

fn push_revision(key: &mut Vec<u8>, at: RevisionKey) {
    key.extend_from_slice(&(!at.main.0).to_be_bytes());
    key.extend_from_slice(&(!at.sub).to_be_bytes());
}

fn revision_of(key: &[u8]) -> Option<RevisionKey> {
    let (_, tail) = key.split_last_chunk::<REVISION_LEN>()?;
    let (main, sub) = tail.split_first_chunk::<8>()?;
    let sub: [u8; 4] = sub.try_into().ok()?;
    Some(RevisionKey { main: Revision(!i64::from_be_bytes(*main)), sub: !u32::from_be_bytes(sub) })
}

/// Names an engine key for an operator.
pub(crate) fn describe(key: &[u8]) -> String {
    let stem = &key[..key.len().saturating_sub(REVISION_LEN)];
    let shown = stem[..stem.len().min(256)].escape_ascii();
    match revision_of(key) {
        Some(at) => format!("versions: key {shown}, revision {}.{}", at.main, at.sub),
        None => format!("versions: engine key {shown}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(main: i64, sub: u32) -> VersionRecord {
        VersionRecord {
            modified: RevisionKey { main: Revision(main), sub },
            tombstone: false,
            created: Revision(2),
            version: Version(7),
            lease: LeaseId(-5),
            value: Bytes::from_static(b"value"),
        }
    }

    #[test]
    fn records_read_back_as_written() {
        let long = vec![1u8; 1_500_000];
        for user_key in [b"".as_slice(), b"\x00", b"a", &long] {
            for record in [
                record(9, 3),
                VersionRecord { lease: LeaseId::NONE, ..record(i64::MAX - 1, 0) },
                VersionRecord {
                    tombstone: true,
                    created: Revision(0),
                    version: Version(0),
                    lease: LeaseId::NONE,
                    value: Bytes::new(),
                    ..record(10, 1)
                },
            ] {
                let (key, value, _) = record.encode(user_key);
                let (back, long_key) = VersionRecord::decode(&key, &value).unwrap();
                assert_eq!(back, record);
                assert_eq!(long_key.is_some(), user_key.len() > 100_000);
                assert!(long_key.is_none_or(|found| found == user_key));
            }
        }
    }

    #[test]
    fn newer_versions_come_first_and_other_keys_stay_outside() {
        let at = |key: &[u8], main, sub| engine_key(key, RevisionKey { main: Revision(main), sub });
        assert!(at(b"a", 5, 1) < at(b"a", 5, 0));
        assert!(at(b"a", 5, 0) < at(b"a", 4, 9));
        assert!(at(b"a", 1, 0) < at(b"a\0", 9, 0));
        let (first, last) = not_newer(b"a", Revision(5));
        assert!(first <= at(b"a", 5, 9) && at(b"a", 1, 0) <= last);
        assert!(at(b"a", 6, 0) < first && last < at(b"a\0", 9, 0));
    }

    #[test]
    fn a_damaged_record_names_family_key_and_revision() {
        let (key, value, _) = record(9, 3).encode(b"foo");
        let mut bad = value.to_vec();
        bad[8] ^= 4;
        let message = VersionRecord::decode(&key, &bad.into()).unwrap_err().to_string();
        assert!(
            message.contains("versions: key foo") && message.contains("revision 9.3"),
            "{message}"
        );
    }
}
