//! Leadership, as the driver tells it.

use vetch_storage::Term;

use super::LeaseClock;
use crate::lease::group::Group;
use crate::lease::lessor::{LeaseFacts, Lessor};
use crate::lease::role::Role;
use crate::rpc::Refusal;

impl<G: Group> LeaseClock<G> {
    /// Starts to keep deadlines.
    pub(in crate::lease) fn promote(&self, group: &G, term: Term) {
        // What is applied from here on is held back; what was applied before is in the table read
        // next. So the table, which may be large, is read without the lock the applying task needs.
        self.state.lock().become_role(Role::Promoting(Vec::new()));
        let (as_of, leases) = group.leases();
        let facts = leases.iter().map(|lease| LeaseFacts {
            id: lease.id,
            ttl: lease.ttl,
            remaining_ttl: lease.remaining_ttl,
        });
        let settings = &self.settings;
        let mut lessor = Lessor::promote(
            term,
            self.now(),
            facts,
            settings.extension,
            settings.checkpoint_interval,
        );
        let mut state = self.state.lock();
        if let Role::Promoting(held) = &state.role {
            for (_, change, at) in held.iter().filter(|(index, ..)| *index > as_of) {
                lessor.apply(*change, *at);
            }
        }
        state.become_role(Role::Leader(lessor));
        drop(state);
        self.promoted.notify_waiters();
    }

    /// Forgets all deadlines.
    pub(in crate::lease) fn demote(&self) {
        self.state.lock().become_role(Role::Follower);
    }

    /// Forgets all deadlines for good; whoever waits for a leader here is told so.
    pub(in crate::lease) fn end(&self) {
        self.state.lock().become_role(Role::Stopped);
        self.promoted.notify_waiters();
    }

    /// Waits until deadlines are kept here.
    pub(super) async fn until_promoted(&self) -> Result<(), Refusal> {
        loop {
            // Before the look, so that a promotion right after it is not missed.
            let promoted = self.promoted.notified();
            match self.state.lock().role {
                Role::Leader(_) => return Ok(()),
                Role::Stopped => return Err(Refusal::Stopped),
                Role::Follower | Role::Promoting(_) => {}
            }
            promoted.await;
        }
    }
}
