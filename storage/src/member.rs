//! The member table: who is in the cluster, under which name and URLs.

use imbl::OrdMap;
use vetch_proto::etcdserverpb::Member;

use crate::types::NodeId;

/// All members, by id. `clone` is O(1).
#[derive(Clone, Debug, Default)]
pub struct Members {
    members: OrdMap<NodeId, Member>,
}

impl Members {
    /// The member with this id.
    pub fn get(&self, id: NodeId) -> Option<&Member> {
        self.members.get(&id)
    }

    /// All members by ascending id.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }
}
