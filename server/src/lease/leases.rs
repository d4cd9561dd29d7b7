//! The node's leases, as services, observer and metrics see them.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use vetch_raft::{AsyncRuntime, Platform, Replica};
use vetch_storage::{Applied, LeaseId};

use super::clock::LeaseClock;
use super::elsewhere::ForOthers;
use crate::metrics::LeaseMetrics;
use crate::rpc::Refusal;

/// How leases behave, all resolved.
#[derive(Clone, Copy, Debug)]
pub struct LeaseSettings {
    /// The least TTL granted, in seconds.
    pub min_ttl: i64,
    /// What a new leader adds to every lease for the time without a leader: one election timeout.
    pub extension: Duration,
    /// Longest wait of a renewal.
    pub request_timeout: Duration,
    /// How often the remaining time of leases longer than this is recorded in the log; `None`: never.
    pub checkpoint_interval: Option<Duration>,
}

impl LeaseSettings {
    /// etcd's period of checkpoints.
    pub const CHECKPOINT_INTERVAL: Duration = Duration::from_mins(5);
}

/// The node's lease clock: renews, answers how long is left, and proposes what is due.
///
/// Made before the replica, because it hears what is applied from the first entry on; then
/// [`start`](Self::start) ties it to the replica.
#[derive(Debug)]
pub struct Leases<P: Platform> {
    clock: Arc<LeaseClock<Replica<P>>>,
}

impl<P: Platform> Leases<P> {
    /// A clock that runs nothing yet. `seed` makes the ids: random, and no other node's.
    pub fn new(settings: LeaseSettings, seed: u64) -> Self {
        Self { clock: Arc::new(LeaseClock::new(settings, seed)) }
    }

    /// Follows the replica's leadership and expires what is due, until `stop`. Once only.
    pub fn start(
        &self,
        replica: Replica<P>,
        metrics: LeaseMetrics,
        stop: CancellationToken,
    ) -> <P::Runtime as AsyncRuntime>::JoinHandle<()> {
        replica.answer_with(Arc::new(ForOthers(Arc::downgrade(&self.clock))));
        let driver = self.clock.start(replica, metrics, stop);
        <P::Runtime as AsyncRuntime>::spawn(driver)
    }

    /// The least TTL granted, in seconds: ceil(1.5 × election timeout).
    pub fn min_ttl(&self) -> i64 {
        self.clock.settings().min_ttl
    }

    /// A positive 63-bit id that is free as far as this member knows.
    pub fn new_id(&self) -> LeaseId {
        self.clock.new_id()
    }

    /// Renews a lease. `Some(ttl)` is the granted TTL, `None` that the lease is gone. Waits for the
    /// revoke of a lease that is due already.
    pub async fn renew(&self, id: LeaseId) -> Result<Option<i64>, Refusal> {
        self.clock.renew(id).await
    }

    /// Whole seconds left, rounded down; 0 for a lease that is due and not yet revoked. `None` when
    /// the lease does not exist.
    pub async fn remaining(&self, id: LeaseId) -> Result<Option<i64>, Refusal> {
        self.clock.remaining(id).await
    }

    /// All leases, soonest expiry first; by id on a member that does not lead.
    pub fn list(&self) -> Vec<LeaseId> {
        self.clock.list()
    }

    /// Follows what was applied. Called on the applying task; does not block.
    pub fn on_applied(&self, applied: &[Arc<Applied>]) {
        self.clock.on_applied(applied);
    }
}
