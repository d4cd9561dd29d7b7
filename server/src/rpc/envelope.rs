//! How long a request is for `--max-request-bytes`: as etcd's message for its log would be.
//!
//! Vetch logs another message; but a client must not find the limit elsewhere than etcd has it.

use prost::Message;
use prost::encoding::encoded_len_varint;
use vetch_proto::etcdserverpb::{InternalRaftRequest, RequestHeader};
use vetch_storage::NodeId;

/// What etcd's message has around a request, apart from the request's own length.
#[derive(Clone, Copy, Debug)]
pub struct Envelope {
    header_bytes: usize,
}

impl Envelope {
    /// The envelope at `member`. Its header holds a request id, whose varint is between 7 and 10 bytes
    /// long depending on the member: the id's highest 16 bits are the lowest of the member's id, then
    /// come 40 bits of the time and 8 that count. There is no user, as long as there is no
    /// authentication.
    pub fn at(member: NodeId) -> Self {
        let highest = member.get() << 48;
        // Where the member's bits are all zero, the time's highest, which is set until 2039, leads.
        let id = highest | (1 << 47);
        let header = RequestHeader { id, username: String::new(), auth_revision: 0 };
        let empty = InternalRaftRequest { header: Some(header), ..Default::default() };
        Self { header_bytes: empty.encoded_len() }
    }

    /// The length of the message that carries a request of `request_len` bytes. The request's field
    /// is one below 16, so its tag takes one byte, whichever request it is.
    pub fn around(self, request_len: usize) -> usize {
        self.header_bytes + 1 + encoded_len_varint(request_len as u64) + request_len
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use vetch_proto::etcdserverpb as pb;

    use super::*;

    /// A message of etcd's, with a request in it, at a member whose bits in the id are `prefix`.
    fn message(prefix: u64, request: InternalRaftRequest) -> usize {
        // November 2026, in milliseconds.
        let time = 1_795_000_000_000_u64 % (1 << 40);
        let header = RequestHeader { id: prefix << 48 | time << 8, ..Default::default() };
        InternalRaftRequest { header: Some(header), ..request }.encoded_len()
    }

    #[test]
    fn it_is_as_long_as_etcds_message() {
        for prefix in [0, 1, 0x7f, 0x80, 0x7fff, 0x8000, 0xffff] {
            let envelope = Envelope::at(NodeId(0xabcd_0000_0000_0000 | prefix));
            for len in [0, 1, 100, 127, 128, 20_000, 1_572_840] {
                let value = Bytes::from(vec![0; len]);
                let put = pb::PutRequest { key: value.clone(), value, ..Default::default() };
                let put_len = put.encoded_len();
                let expected =
                    message(prefix, InternalRaftRequest { put: Some(put), ..Default::default() });
                assert_eq!(envelope.around(put_len), expected, "{prefix:x} {len}");
            }
        }
    }

    #[test]
    fn every_request_has_a_tag_of_one_byte() {
        let envelope = Envelope::at(NodeId(0x1234));
        let none = InternalRaftRequest::default;
        for request in [
            InternalRaftRequest { delete_range: Some(pb::DeleteRangeRequest::default()), ..none() },
            InternalRaftRequest { txn: Some(pb::TxnRequest::default()), ..none() },
            InternalRaftRequest { compaction: Some(pb::CompactionRequest::default()), ..none() },
            InternalRaftRequest { lease_grant: Some(pb::LeaseGrantRequest::default()), ..none() },
            InternalRaftRequest { lease_revoke: Some(pb::LeaseRevokeRequest::default()), ..none() },
            InternalRaftRequest { alarm: Some(pb::AlarmRequest::default()), ..none() },
        ] {
            assert_eq!(envelope.around(0), message(0x1234, request));
        }
    }
}
