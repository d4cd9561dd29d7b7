//! The canonical encoding of `mvccpb.KeyValue`: fields in number order, zero fields left out.
//! Written out by hand, so that lengths are known from the index alone and values are copied once.

use bytes::BufMut;
use prost::encoding::{encode_varint, encoded_len_varint};

use super::index::IndexEntry;
use crate::types::LeaseId;

/// Length of the encoded record. A tombstone has its key only.
pub(crate) fn record_len(
    key_len: usize,
    entry: &IndexEntry,
    value_len: usize,
    lease: LeaseId,
) -> usize {
    let key_field = delimited_len(key_len);
    if entry.tombstone {
        return key_field;
    }
    key_field
        + number_len(entry.created.0)
        + number_len(entry.modified.main.0)
        + number_len(entry.version.0)
        + delimited_len(value_len)
        + number_len(lease.0)
}

/// Encodes what comes before the value's bytes.
pub(crate) fn encode_head(key: &[u8], entry: &IndexEntry, value_len: usize, out: &mut impl BufMut) {
    if !key.is_empty() {
        out.put_u8(1 << 3 | 2);
        encode_varint(key.len() as u64, out);
        out.put_slice(key);
    }
    if entry.tombstone {
        return;
    }
    encode_number(2, entry.created.0, out);
    encode_number(3, entry.modified.main.0, out);
    encode_number(4, entry.version.0, out);
    if value_len > 0 {
        out.put_u8(5 << 3 | 2);
        encode_varint(value_len as u64, out);
    }
}

/// Encodes what comes behind the value's bytes.
pub(crate) fn encode_tail(lease: LeaseId, out: &mut impl BufMut) {
    encode_number(6, lease.0, out);
}

fn delimited_len(len: usize) -> usize {
    if len == 0 { 0 } else { 1 + encoded_len_varint(len as u64) + len }
}

fn number_len(number: i64) -> usize {
    if number == 0 { 0 } else { 1 + encoded_len_varint(number.cast_unsigned()) }
}

fn encode_number(field: u8, number: i64, out: &mut impl BufMut) {
    if number != 0 {
        out.put_u8(field << 3);
        encode_varint(number.cast_unsigned(), out);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use prost::Message;
    use vetch_proto::mvccpb::KeyValue;

    use super::*;
    use crate::types::{Revision, RevisionKey, Version};

    #[test]
    fn equals_the_generated_encoder() {
        for (key, value, lease, version) in [
            ("k", "v", 0, 1),
            ("", "", 5, 300),
            ("key", "", -1, i64::MAX),
            ("key", &"x".repeat(70_000), i64::MAX, 2),
        ] {
            let entry = IndexEntry {
                created: Revision(2),
                modified: RevisionKey { main: Revision(130), sub: 3 },
                version: Version(version),
                lease: LeaseId(lease),
                value_len: 0,
                tombstone: false,
            };
            let message = KeyValue {
                key: Bytes::from_static(key.as_bytes()),
                create_revision: 2,
                mod_revision: 130,
                version,
                value: Bytes::copy_from_slice(value.as_bytes()),
                lease,
            };
            let mut out = Vec::new();
            encode_head(key.as_bytes(), &entry, value.len(), &mut out);
            out.extend_from_slice(value.as_bytes());
            encode_tail(entry.lease, &mut out);
            assert_eq!(out, message.encode_to_vec());
            assert_eq!(out.len(), record_len(key.len(), &entry, value.len(), entry.lease));
        }
    }
}
