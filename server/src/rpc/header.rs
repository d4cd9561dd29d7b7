//! The header of every answer.

use vetch_proto::etcdserverpb::ResponseHeader;
use vetch_storage::{ClusterId, NodeId, Revision, Term};

/// Who answers: fixed for the life of the node.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// The member the client is connected to, also when another did the work.
    pub member_id: NodeId,
}

impl Identity {
    /// A full header. `term` is read when the answer is sent, as in etcd.
    pub fn header(self, revision: Revision, term: Term) -> ResponseHeader {
        ResponseHeader {
            cluster_id: self.cluster_id.get(),
            member_id: self.member_id.get(),
            revision: revision.get(),
            raft_term: term.get(),
        }
    }
}
