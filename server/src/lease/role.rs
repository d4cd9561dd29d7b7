//! What the lease clock keeps under its lock.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use vetch_storage::{LeaseChange, LeaseId, LogIndex};

use super::lessor::Lessor;

/// What this member does about leases.
#[derive(Debug)]
pub(super) enum Role {
    /// It expires nothing and knows no deadline.
    Follower,
    /// It leads and reads the table; what is applied meanwhile waits here, with its position and
    /// time.
    Promoting(Vec<(LogIndex, LeaseChange, Duration)>),
    /// It keeps the deadlines.
    Leader(Lessor),
    /// The node stops: nothing will be kept any more.
    Stopped,
}

/// Why a waiting renewal was woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// The lease is gone.
    Revoked,
    /// Its checkpoint is settled.
    Settled,
}

/// Everything that changes.
#[derive(Debug)]
pub(super) struct State {
    pub(super) role: Role,
    /// Renewals that wait for a revoke or a checkpoint. Dropped senders mean: this member leads no
    /// more, or another term.
    waiting: BTreeMap<LeaseId, Vec<oneshot::Sender<Woken>>>,
    /// When the driver looks again by itself.
    pub(super) driver_wakes_at: Duration,
    /// Makes the driver look now.
    pub(super) wake_driver: Option<mpsc::Sender<()>>,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            role: Role::Follower,
            waiting: BTreeMap::new(),
            driver_wakes_at: Duration::MAX,
            wake_driver: None,
        }
    }

    /// The deadlines, while this member keeps them.
    pub(super) fn lessor(&mut self) -> Option<&mut Lessor> {
        match &mut self.role {
            Role::Leader(lessor) => Some(lessor),
            Role::Follower | Role::Promoting(_) | Role::Stopped => None,
        }
    }

    /// Follows one applied change.
    pub(super) fn apply(&mut self, at: LogIndex, change: LeaseChange, now: Duration) {
        match &mut self.role {
            Role::Follower | Role::Stopped => {}
            Role::Promoting(held) => held.push((at, change, now)),
            Role::Leader(lessor) => lessor.apply(change, now),
        }
        if let LeaseChange::Revoked { id } = change {
            self.wake(id, Woken::Revoked);
        }
    }

    /// Waits for what happens to a lease next.
    pub(super) fn wait_for(&mut self, id: LeaseId) -> oneshot::Receiver<Woken> {
        let (sender, receiver) = oneshot::channel();
        let waiting = self.waiting.entry(id).or_default();
        waiting.retain(|sender| !sender.is_closed());
        waiting.push(sender);
        receiver
    }

    /// Wakes whoever waits for a lease.
    pub(super) fn wake(&mut self, id: LeaseId, why: Woken) {
        for sender in self.waiting.remove(&id).into_iter().flatten() {
            // A renewal that went away is no loss.
            let _gone = sender.send(why);
        }
    }

    /// Takes another role; whoever waited under the old one has to look again.
    pub(super) fn become_role(&mut self, role: Role) {
        self.role = role;
        self.waiting.clear();
    }

    /// Wakes the driver if something is due before it would look by itself.
    pub(super) fn hurry_driver(&mut self) {
        let next = match &self.role {
            Role::Leader(lessor) => lessor.next_deadline(),
            Role::Follower | Role::Promoting(_) | Role::Stopped => None,
        };
        if next.is_some_and(|next| next < self.driver_wakes_at)
            && let Some(wake) = &self.wake_driver
        {
            // Full: it is about to look anyway. Closed: the node stops.
            let _told = wake.try_send(());
        }
    }
}
