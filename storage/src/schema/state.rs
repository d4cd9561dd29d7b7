//! Family `State`: the replicated facts that are not versions of keys, and two local ones (`Reclaim`,
//! `CompactionHashes`) that say how far background deletion is.
//!
//! Key: a tag byte, then the id of the fact, big-endian, signed ids with the top bit flipped so that
//! byte order is number order. Value: a protobuf message (field numbers never reused), then CRC-32.

use std::ops::Bound;

use bytes::Bytes;
use prost::Message;

use super::checksum;
use crate::alarm::AlarmKind;
use crate::engine::{Bounds, Family};
use crate::error::Fatal;
use crate::types::{LeaseId, NodeId, Revision};

/// Every kind of fact in this family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StateKey {
    /// `01`: [`Progress`].
    Progress,
    /// `02`: [`Membership`].
    Membership,
    /// `03`: [`ClusterVersion`].
    ClusterVersion,
    /// `04`: [`Boundary`].
    Boundary,
    /// `05`: [`Reclaim`]. Local.
    Reclaim,
    /// `06`: [`CompactionHashes`]. Local in time, equal in content.
    CompactionHashes,
    /// `10` and the id: [`LeaseRecord`].
    Lease(LeaseId),
    /// `11`, member id and kind: [`Nothing`].
    Alarm(NodeId, AlarmKind),
    /// `12` and the id: `etcdserverpb.Member`.
    Member(NodeId),
    /// `13` and the id: [`Nothing`]; a removed member's id never comes back.
    Removed(NodeId),
    /// `14` and the revision: [`ScheduledCompaction`], until its deletions are done.
    Scheduled(Revision),
}

const LEASE: u8 = 0x10;
const ALARM: u8 = 0x11;
const MEMBER: u8 = 0x12;
const REMOVED: u8 = 0x13;
const SCHEDULED: u8 = 0x14;
const SIGN: u64 = 1 << 63;

impl StateKey {
    /// The engine's key.
    pub(crate) fn encode(self) -> Bytes {
        match self {
            Self::Progress => Bytes::from_static(&[1]),
            Self::Membership => Bytes::from_static(&[2]),
            Self::ClusterVersion => Bytes::from_static(&[3]),
            Self::Boundary => Bytes::from_static(&[4]),
            Self::Reclaim => Bytes::from_static(&[5]),
            Self::CompactionHashes => Bytes::from_static(&[6]),
            Self::Lease(id) => tagged(LEASE, id.0.cast_unsigned() ^ SIGN, &[]),
            Self::Alarm(member, kind) => tagged(ALARM, member.0, &[alarm_byte(kind)]),
            Self::Member(id) => tagged(MEMBER, id.0, &[]),
            Self::Removed(id) => tagged(REMOVED, id.0, &[]),
            Self::Scheduled(revision) => tagged(SCHEDULED, revision.0.cast_unsigned() ^ SIGN, &[]),
        }
    }

    /// Reads an engine key back.
    pub(crate) fn decode(key: &[u8]) -> Result<Self, Fatal> {
        Self::parse(key).ok_or_else(|| {
            checksum::corrupt(Family::State, key, "a known state key", "other bytes")
        })
    }

    fn parse(key: &[u8]) -> Option<Self> {
        let (tag, rest) = key.split_first()?;
        if rest.is_empty() {
            return match tag {
                1 => Some(Self::Progress),
                2 => Some(Self::Membership),
                3 => Some(Self::ClusterVersion),
                4 => Some(Self::Boundary),
                5 => Some(Self::Reclaim),
                6 => Some(Self::CompactionHashes),
                _ => None,
            };
        }
        let (id, rest) = rest.split_first_chunk::<8>()?;
        let id = u64::from_be_bytes(*id);
        match (*tag, rest) {
            (LEASE, []) => Some(Self::Lease(LeaseId((id ^ SIGN).cast_signed()))),
            (ALARM, [kind]) => Some(Self::Alarm(NodeId(id), alarm_kind(*kind)?)),
            (MEMBER, []) => Some(Self::Member(NodeId(id))),
            (REMOVED, []) => Some(Self::Removed(NodeId(id))),
            (SCHEDULED, []) => Some(Self::Scheduled(Revision((id ^ SIGN).cast_signed()))),
            _ => None,
        }
    }
}

fn tagged(tag: u8, id: u64, rest: &[u8]) -> Bytes {
    let mut key = Vec::with_capacity(9 + rest.len());
    key.push(tag);
    key.extend_from_slice(&id.to_be_bytes());
    key.extend_from_slice(rest);
    Bytes::from(key)
}

fn alarm_byte(kind: AlarmKind) -> u8 {
    match kind {
        AlarmKind::NoSpace => 1,
        AlarmKind::Corrupt => 2,
    }
}

fn alarm_kind(byte: u8) -> Option<AlarmKind> {
    match byte {
        1 => Some(AlarmKind::NoSpace),
        2 => Some(AlarmKind::Corrupt),
        _ => None,
    }
}

/// How far the log is applied. Written with every batch that applies entries.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Progress {
    /// Term of the newest applied entry.
    #[prost(uint64, tag = "1")]
    pub(crate) term: u64,
    /// Its index.
    #[prost(uint64, tag = "2")]
    pub(crate) index: u64,
    /// The store's revision.
    #[prost(int64, tag = "3")]
    pub(crate) revision: i64,
    /// The running digest.
    #[prost(fixed64, tag = "4")]
    pub(crate) digest: u64,
    /// Bytes of all versions ever written, see [`crate::mvcc::footprint`].
    #[prost(uint64, tag = "5")]
    pub(crate) written: u64,
}

/// The consensus layer's membership.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Membership {
    /// Term of the entry that set it.
    #[prost(uint64, tag = "1")]
    pub(crate) term: u64,
    /// Its index.
    #[prost(uint64, tag = "2")]
    pub(crate) index: u64,
    /// In the consensus layer's own encoding.
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) encoded: Bytes,
}

/// The replicated cluster version.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ClusterVersion {
    /// E.g. `3.7.0`.
    #[prost(string, tag = "1")]
    pub(crate) version: String,
}

/// The compacted revision: nothing below it is readable.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Boundary {
    /// Itself readable.
    #[prost(int64, tag = "1")]
    pub(crate) revision: i64,
}

/// How far background deletion is.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Reclaim {
    /// The last compaction whose deletions are all done; −1 before any.
    #[prost(sint64, tag = "1")]
    pub(crate) finished: i64,
    /// The compaction whose deletions have begun; `finished` when none has.
    #[prost(sint64, tag = "2")]
    pub(crate) started: i64,
    /// Changes before this one are dealt with.
    #[prost(int64, tag = "3")]
    pub(crate) cursor_main: i64,
    /// See above.
    #[prost(uint32, tag = "4")]
    pub(crate) cursor_sub: u32,
    /// Bytes of all versions ever deleted.
    #[prost(uint64, tag = "5")]
    pub(crate) reclaimed: u64,
}

/// A compaction whose deletions are not all done.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct ScheduledCompaction {
    /// The compacted revision before it; −1 for none.
    #[prost(sint64, tag = "1")]
    pub(crate) previous: i64,
}

/// The hashes of the last compactions, oldest first.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct CompactionHashes {
    /// At most ten.
    #[prost(message, repeated, tag = "1")]
    pub(crate) hashes: Vec<CompactionHash>,
}

/// `HashKV`'s answer for a compacted revision, taken before its deletions.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct CompactionHash {
    /// The compacted revision.
    #[prost(int64, tag = "1")]
    pub(crate) revision: i64,
    /// The one before; −1 for none.
    #[prost(sint64, tag = "2")]
    pub(crate) previous: i64,
    /// CRC-32C.
    #[prost(fixed32, tag = "3")]
    pub(crate) hash: u32,
}

/// A lease; its keys are found in the index.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct LeaseRecord {
    /// Seconds granted.
    #[prost(int64, tag = "1")]
    pub(crate) ttl: i64,
    /// Seconds left at the last checkpoint; 0: none.
    #[prost(int64, tag = "2")]
    pub(crate) remaining_ttl: i64,
}

/// The key says it all.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Nothing {}

/// The engine keys of all scheduled compactions up to `last`.
pub(crate) fn scheduled_bounds(last: Revision) -> Bounds {
    (
        Bound::Included(StateKey::Scheduled(Revision(i64::MIN)).encode()),
        Bound::Included(StateKey::Scheduled(last).encode()),
    )
}

/// Encodes a fact; the last part is the checksum in the value.
pub(crate) fn encode(key: StateKey, message: &impl Message) -> (Bytes, Bytes, u32) {
    let key = key.encode();
    let (value, crc) = checksum::seal(&key, message.encode_to_vec());
    (key, value, crc)
}

/// Decodes a fact's value.
pub(crate) fn decode<M: Message + Default>(key: &[u8], value: &Bytes) -> Result<M, Fatal> {
    let body = checksum::unseal(Family::State, key, value)?;
    M::decode(body).map_err(|error| {
        checksum::corrupt(Family::State, key, "a state record", &error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_and_sort_by_number() {
        let keys = [
            StateKey::Progress,
            StateKey::Membership,
            StateKey::ClusterVersion,
            StateKey::Boundary,
            StateKey::Reclaim,
            StateKey::CompactionHashes,
            StateKey::Lease(LeaseId(i64::MIN)),
            StateKey::Lease(LeaseId(-1)),
            StateKey::Lease(LeaseId(1)),
            StateKey::Lease(LeaseId(i64::MAX)),
            StateKey::Alarm(NodeId(1), AlarmKind::NoSpace),
            StateKey::Alarm(NodeId(1), AlarmKind::Corrupt),
            StateKey::Alarm(NodeId(u64::MAX), AlarmKind::NoSpace),
            StateKey::Member(NodeId(7)),
            StateKey::Removed(NodeId(7)),
            StateKey::Scheduled(Revision(5)),
        ];
        for pair in keys.windows(2) {
            assert!(pair[0].encode() < pair[1].encode(), "{pair:?}");
        }
        for key in keys {
            assert_eq!(StateKey::decode(&key.encode()).unwrap(), key);
        }
        assert!(StateKey::decode(b"\x09").is_err() && StateKey::decode(b"").is_err());
    }

    #[test]
    fn a_record_under_another_key_is_refused() {
        let (_, value, _) = encode(StateKey::Boundary, &Boundary { revision: 4 });
        let other = StateKey::Progress.encode();
        assert!(decode::<Boundary>(&other, &value).is_err());
    }
}
