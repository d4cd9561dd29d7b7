//! The member table: who is in the cluster, under which name and URLs.

use imbl::{OrdMap, OrdSet};
use vetch_proto::etcdserverpb::Member;

use crate::types::NodeId;

/// All members, by id. `clone` is O(1).
///
/// **Invariant:** no id is both a member's and a removed member's.
#[derive(Clone, Debug, Default)]
pub struct Members {
    members: OrdMap<NodeId, Member>,
    removed: OrdSet<NodeId>,
}

impl FromIterator<Member> for Members {
    fn from_iter<I: IntoIterator<Item = Member>>(members: I) -> Self {
        let members = members.into_iter().map(|member| (NodeId(member.id), member)).collect();
        Self { members, removed: OrdSet::new() }
    }
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

    /// Whether a member with this id was removed; such an id never comes back.
    pub fn is_removed(&self, id: NodeId) -> bool {
        self.removed.contains(&id)
    }

    /// Ids of removed members, ascending.
    pub fn removed(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.removed.iter().copied()
    }

    /// Adds or replaces a member, unless one with this id was removed; whether it did.
    pub(crate) fn set(&mut self, member: Member) -> bool {
        let id = NodeId(member.id);
        if self.is_removed(id) {
            return false;
        }
        self.members.insert(id, member);
        true
    }

    /// Takes what a member says of itself: name and client URLs, and peer URLs if it names any. What
    /// the group decided about it (that it is a learner) stays. `None` if the id was removed.
    pub(crate) fn publish(&mut self, mut said: Member) -> Option<&Member> {
        let id = NodeId(said.id);
        if let Some(known) = self.members.get(&id) {
            said.is_learner = known.is_learner;
            if said.peer_ur_ls.is_empty() {
                said.peer_ur_ls.clone_from(&known.peer_ur_ls);
            }
        }
        if self.set(said) { self.members.get(&id) } else { None }
    }

    /// Moves a member to other peer URLs; `None` if there is no such member.
    pub(crate) fn update(&mut self, id: NodeId, peer_urls: &[String]) -> Option<&Member> {
        let member = self.members.get_mut(&id)?;
        member.peer_ur_ls = peer_urls.to_vec();
        Some(member)
    }

    /// Removes a member for good.
    pub(crate) fn remove(&mut self, id: NodeId) {
        self.members.remove(&id);
        self.removed.insert(id);
    }
}
