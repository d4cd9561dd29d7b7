//! The member table.

use bytes::Bytes;
use vetch_proto::etcdserverpb::Member;

use super::Model;
use crate::types::{LogId, NodeId};

impl Model {
    /// §10: a change of the voter set, kept with its entry's id, and what it does to the table. An id
    /// that was removed never comes back.
    pub(super) fn change_membership(
        &mut self,
        id: LogId,
        encoded: Bytes,
        member: Option<Member>,
        removed: Option<NodeId>,
    ) {
        self.membership = Some((id, encoded));
        if let Some(member) = member.filter(|member| !self.removed.contains(&member.id)) {
            self.members.insert(member.id, member);
        }
        if let Some(removed) = removed {
            self.members.remove(&removed.0);
            self.removed.insert(removed.0);
        }
    }

    /// §10: a member says its name and URLs. It neither promotes itself nor forgets its peer URLs.
    pub(super) fn publish(&mut self, said: Option<&Member>) {
        let Some(mut said) = said.cloned() else { return };
        if self.removed.contains(&said.id) {
            return;
        }
        if let Some(known) = self.members.get(&said.id) {
            said.is_learner = known.is_learner;
            if said.peer_ur_ls.is_empty() {
                said.peer_ur_ls.clone_from(&known.peer_ur_ls);
            }
        }
        self.members.insert(said.id, said);
    }

    /// §10: a member moves to other peer URLs; nothing else about it changes.
    pub(super) fn update_member(&mut self, id: u64, peer_urls: &[String]) {
        if let Some(member) = self.members.get_mut(&id) {
            member.peer_ur_ls = peer_urls.to_vec();
        }
    }

    /// All members, by id.
    pub fn members(&self) -> Vec<Member> {
        self.members.values().cloned().collect()
    }

    /// Ids that were removed, ascending.
    pub fn removed_members(&self) -> Vec<NodeId> {
        self.removed.iter().map(|id| NodeId(*id)).collect()
    }

    /// The cluster version, once it is set.
    pub fn cluster_version(&self) -> Option<&str> {
        self.cluster_version.as_deref()
    }

    /// The newest membership as the consensus layer encoded it, with its entry's id.
    pub fn membership(&self) -> Option<(LogId, Bytes)> {
        self.membership.clone()
    }
}
