//! A group one of whose members lacks what all logs have lost.

use super::*;

/// Logs that end soon after a checkpoint.
pub(super) fn short_logs() -> Settings {
    Settings { checkpoint_entries: 20, catchup_entries: 2, ..Settings::for_tests() }
}

impl Cluster {
    /// The last entry that member `id` has no more.
    pub(crate) fn purged(&self, id: u64) -> u64 {
        self.replica(id).purged().0
    }

    /// States that member `id` was given in this life of its.
    pub(crate) fn installed(&self, id: u64) -> usize {
        self.observers[&id].installed.lock().len()
    }

    /// Waits until the log of all running members has lost what was there when the call began.
    pub(super) async fn purge(&self) {
        let leader = self.leader().await;
        let tip = self.replica(leader).status().applied.0;
        for n in 0.. {
            if self.replicas.keys().all(|id| self.purged(*id) >= tip) {
                return;
            }
            assert!(n < 60, "the logs are not purged");
            self.load(&format!("purge {tip} {n}"), 6).await;
            // An append to a member that is down keeps the log until it is given up.
            SimRuntime::sleep(Duration::from_millis(1_200)).await;
        }
    }

    /// A running group but for one member, which lacks what all logs have lost. Its id.
    pub(super) async fn with_one_behind(seed: u64, size: u64, settings: Settings) -> (Self, u64) {
        let mut cluster = Self::start_with(seed, size, settings).await;
        let behind = cluster.leave_one_behind().await;
        (cluster, behind)
    }

    /// A follower goes down, and comes to lack what all logs have lost. Its id.
    pub(super) async fn leave_one_behind(&mut self) -> u64 {
        let behind = self.follower().await;
        self.load("before", 4).await;
        self.check("before").await;
        self.kill(behind);
        self.purge().await;
        behind
    }

    /// Waits until member `id` has what is committed now. A sender whose messages go nowhere takes a
    /// while to notice.
    pub(super) async fn caught_up(&self, id: u64) {
        let tip = self.replicas.values().map(|replica| replica.status().committed).max();
        self.until("caught up", |cluster| Some(cluster.replica(id).status().applied) >= tip).await;
    }

    /// Waits until member `id` is being given a state.
    pub(super) async fn being_given(&self, id: u64) {
        let machine = &self.machines[&id];
        let begins = |_: &Self| machine.engine_count() > 1;
        self.until("a state on its way", begins).await;
    }
}
