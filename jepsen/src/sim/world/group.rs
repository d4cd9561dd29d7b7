//! Who belongs to the group, as its operator knows it.

use vetch_proto::etcdserverpb::Member as MemberRecord;

use super::{Place, World};
use crate::sim::life::Origin;

/// Where a member is in the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It belongs to it.
    Member,
    /// Its removal is asked for, and may be made already.
    Leaving,
    /// It was removed: its id never comes back.
    Removed,
}

/// What has become of a machine's disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disks {
    /// They hold what was flushed.
    Kept,
    /// They were lost; the member is started on empty ones.
    Wiped,
    /// They were lost, and the member with them.
    Lost,
}

impl World {
    /// Ids of the members of the group, but for those whose disks are lost.
    pub fn ids(&self) -> Vec<u64> {
        let members = self.members.lock();
        let belongs = members.iter().filter(|(_, member)| {
            member.standing != Standing::Removed && member.disks == Disks::Kept
        });
        belongs.map(|(id, _)| *id).collect()
    }

    /// Ids of all machines there have ever been.
    pub fn machines(&self) -> Vec<u64> {
        self.members.lock().keys().copied().collect()
    }

    /// An id that was never used before, nor chosen by another operator.
    pub fn new_id(&self) -> u64 {
        let last = self.members.lock().last_key_value().map_or(0, |(id, _)| *id);
        let mut progress = self.progress.lock();
        progress.chosen = progress.chosen.max(last) + 1;
        progress.chosen
    }

    /// A machine for a member that was added, which is told who is there already.
    pub fn add_machine(&self, id: u64, others: Vec<MemberRecord>) {
        let member = self.new_member(id, Origin::Joiner(others));
        self.members.lock().insert(id, member);
    }

    /// The member's removal is asked for from here on.
    pub fn leaves(&self, id: u64) {
        self.with(id, |member| member.standing = Standing::Leaving);
    }

    /// The group has removed the member.
    pub fn removed(&self, id: u64) {
        self.with(id, |member| member.standing = Standing::Removed);
        self.trace.note(format_args!("m{id} belongs to the group no more"));
    }

    /// Whether the member may have been told that it was removed.
    pub(super) fn may_be_removed(&self, id: u64) -> bool {
        self.with(id, |member| member.standing != Standing::Member)
    }

    /// Whether the member runs on empty disks in place of its own.
    pub fn is_wiped(&self, id: u64) -> bool {
        self.with(id, |member| member.disks == Disks::Wiped)
    }

    /// Nobody will start this member again.
    pub fn gives_up(&self, id: u64) {
        self.with(id, |member| member.disks = Disks::Lost);
    }

    /// Removed members that run on although they can ask somebody whether they belong to the group.
    pub fn stragglers(&self) -> Vec<u64> {
        let ids = self.ids();
        let members = self.members.lock();
        let running = members.iter().filter_map(|(id, member)| match &member.place {
            Place::Up(life) if member.standing == Standing::Removed => Some((*id, life)),
            Place::Up(_) | Place::Down | Place::Booting(_) => None,
        });
        let knows_somebody = |(id, life): (u64, &std::sync::Arc<super::Life>)| {
            let view = life.replica.view();
            view.members().iter().any(|member| ids.contains(&member.id)).then_some(id)
        };
        running.filter_map(knows_somebody).collect()
    }
}
