//! Deadlines of leases: kept by the leader only, on monotonic time only.

use std::marker::PhantomData;

use vetch_raft::Platform;
use vetch_storage::{Applied, LeaseId};

use crate::rpc::Refusal;

/// The node's lease clock: renews, answers how long is left, and proposes what is due.
#[derive(Debug)]
pub struct Leases<P: Platform> {
    platform: PhantomData<P>,
}

impl<P: Platform> Leases<P> {
    /// Tmp.
    pub fn new(_min_ttl: i64, _e: std::time::Duration) -> Self {
        Self { platform: PhantomData }
    }
    /// Tmp.
    pub fn start(
        self: &std::sync::Arc<Self>,
        _replica: vetch_raft::Replica<P>,
    ) -> tokio::task::JoinHandle<()> {
        tokio::spawn(async {})
    }

    /// The least TTL granted, in seconds: ceil(1.5 × election timeout).
    pub fn min_ttl(&self) -> i64 {
        todo!()
    }

    /// A positive 63-bit id that is free as far as this member knows.
    pub fn new_id(&self) -> LeaseId {
        todo!()
    }

    /// Renews a lease. `Some(ttl)` is the granted TTL, `None` that the lease is gone. Waits for the
    /// revoke of a lease that is due already.
    pub async fn renew(&self, id: LeaseId) -> Result<Option<i64>, Refusal> {
        let _ = id;
        todo!()
    }

    /// Whole seconds left; `None` when the lease does not exist.
    pub async fn remaining(&self, id: LeaseId) -> Result<Option<i64>, Refusal> {
        let _ = id;
        todo!()
    }

    /// All leases, soonest expiry first.
    pub fn list(&self) -> Vec<LeaseId> {
        todo!()
    }

    /// Follows what was applied. Called on the applying task; does not block.
    pub fn on_applied(&self, applied: &[std::sync::Arc<Applied>]) {
        let _ = applied;
    }
}
