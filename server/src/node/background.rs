//! What runs beside the requests.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use tokio::task::JoinHandle;
use vetch_raft::{AsyncRuntime, Platform};
use vetch_storage::Fatal;

use super::{gauges, maintain, promote, space};
use crate::auto_compaction;
use crate::compactor::Pace;
use crate::config::Config;
use crate::corruption;
use crate::rpc::Api;
use crate::rpc::stream_end::watch_leader;

/// The tasks of a node that nobody asks for.
pub(super) struct Background<P: Platform> {
    /// These run until they are aborted.
    endless: Vec<JoinHandle<()>>,
    /// These end when the node stops.
    stopping: Vec<<P::Runtime as AsyncRuntime>::JoinHandle<()>>,
}

impl<P: Platform> fmt::Debug for Background<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Background").finish_non_exhaustive()
    }
}

impl<P: Platform> Background<P> {
    pub(super) fn start(platform: &P, config: &Config, api: &Arc<Api<P>>) -> Self {
        let (replica, metrics, stop) = (&api.replica, &api.metrics, &api.stopping);
        let upkeep = maintain::run(platform.clone(), replica.clone());
        let data_dir = config.data_dir.clone();
        let measuring = space::run(platform.clone(), Arc::clone(api), data_dir);
        let (deleting, compactor) = (Arc::clone(&api.compaction), replica.compactor());
        let (platform, measured) = (platform.clone(), metrics.mvcc.clone());
        let pace =
            Pace { batch: config.compaction.batch_limit, pause: config.compaction.sleep_interval };
        let deletion = async move { deleting.run(platform, compactor, pace, measured).await };
        let leaders = gauges::count_leaders(replica.clone(), Arc::clone(metrics));
        let leases = api.leases.start(replica.clone(), metrics.lease.clone(), stop.clone());
        let compaction =
            auto_compaction::start(replica.clone(), config.compaction.auto, stop.clone());
        let mut endless = vec![
            reporting(api, upkeep),
            reporting(api, deletion),
            tokio::spawn(leaders),
            tokio::spawn(watch_leader(Arc::clone(api), config.raft.election_timeout)),
            tokio::spawn(measuring),
        ];
        if config.membership.auto_promote_learners {
            endless.push(tokio::spawn(promote::run(replica.clone(), api.limits.members)));
        }
        if let Some(every) = config.corruption.every {
            endless.push(tokio::spawn(corruption::check_histories(Arc::clone(api), every)));
        }
        if let Some(every) = config.corruption.compactions_every {
            endless.push(tokio::spawn(corruption::check_compactions(Arc::clone(api), every)));
        }
        Self { endless, stopping: std::iter::once(leases).chain(compaction).collect() }
    }

    /// Ends what does not end by itself.
    pub(super) fn abort(&self) {
        for task in &self.endless {
            task.abort();
        }
    }

    /// Waits until nothing of it holds the replica any more, which has been shut down.
    pub(super) async fn ended(self) {
        // Errors of joins: aborted, as asked for; or panicked, and that was said already.
        for task in self.endless {
            drop(task.await);
        }
        for task in self.stopping {
            drop(task.await);
        }
    }
}

/// Runs what ends only by finding damage; that stops the node.
fn reporting<P: Platform>(
    api: &Api<P>,
    task: impl Future<Output = Fatal> + Send + 'static,
) -> JoinHandle<()> {
    let fatal = api.fatal.clone();
    tokio::spawn(async move { drop(fatal.send(task.await)) })
}
