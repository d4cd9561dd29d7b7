//! What the services of a node share, from the configuration.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use vetch_raft::{MemberRules, Platform, Replica};
use vetch_storage::Fatal;

use super::apply_meter::ApplyMeter;
use super::observer::Observer;
use crate::compactor::CompactionState;
use crate::config::{Config, Warnings};
use crate::lease::{LeaseSettings, Leases};
use crate::metrics::{self, Metrics};
use crate::rpc::quota::Quota;
use crate::rpc::range_body::AnswerBudget;
use crate::rpc::{Api, Identity, Limits};
use crate::watch::{self, WatchHub};

/// Memory of large answers: this part of `--memory-budget`.
const ANSWER_SHARE: u64 = 4;
/// What may wait for one watch stream.
const WATCH_OUTBOX_BYTES: usize = 4 * 1024 * 1024;
/// Newest events kept for watchers a little behind.
const EVENT_LOG_BYTES: usize = 16 * 1024 * 1024;

/// Everything that hears what is applied, made before there is a replica; then the services on it.
pub(super) struct Services<P: Platform> {
    leases: Arc<Leases<P>>,
    watch: Arc<WatchHub<P>>,
    compaction: Arc<CompactionState>,
    metrics: Arc<Metrics>,
    limits: Limits,
    quota: Quota,
    budget: AnswerBudget,
    spool_dir: PathBuf,
    warnings: Warnings,
    fatal: mpsc::UnboundedSender<Fatal>,
}

impl<P: Platform> Services<P> {
    pub(super) fn new(
        platform: &P,
        config: &Config,
        metrics: &Arc<Metrics>,
        fatal: mpsc::UnboundedSender<Fatal>,
    ) -> Self {
        Self {
            leases: Arc::new(Leases::new(lease_settings(config), platform.random())),
            watch: Arc::new(WatchHub::new(watch_settings(config), fatal.clone())),
            compaction: Arc::default(),
            metrics: Arc::clone(metrics),
            limits: Limits {
                max_request_bytes: config.limits.max_request_bytes,
                max_txn_ops: config.limits.max_txn_ops,
                members: MemberRules {
                    strict: config.membership.strict_reconfig_check,
                    max_learners: config.membership.max_learners,
                },
            },
            quota: Quota::from(config.storage.quota),
            budget: AnswerBudget::new(answer_bytes(config)),
            spool_dir: config.data_dir.join("member").join("snap"),
            warnings: config.warnings,
            fatal,
        }
    }

    /// Who is to hear what is applied, from the first entry on.
    pub(super) fn observer(&self) -> Observer<P> {
        Observer {
            leases: Arc::clone(&self.leases),
            watch: Arc::clone(&self.watch),
            compaction: Arc::clone(&self.compaction),
            meter: ApplyMeter {
                metrics: Arc::clone(&self.metrics),
                warn_after: self.warnings.apply,
            },
        }
    }

    /// The services on `replica`, which has told the observer all it applied. `stopping` ends their
    /// streams.
    pub(super) fn serve(self, replica: &Replica<P>, stopping: CancellationToken) -> Arc<Api<P>> {
        let view = replica.view();
        self.watch.begin(&view);
        self.compaction.follow(view.compact_revision());
        let known = replica.identity();
        let identity = Identity { cluster_id: known.cluster, member_id: known.member };
        self.metrics.identify(metrics::Identity { member_id: identity.member_id.get() });
        Arc::new(Api::new(
            replica.clone(),
            identity,
            self.limits,
            self.quota,
            self.budget,
            self.leases,
            self.watch,
            self.compaction,
            self.spool_dir,
            self.metrics,
            self.warnings,
            self.fatal,
            stopping,
        ))
    }
}

fn watch_settings(config: &Config) -> watch::Settings {
    watch::Settings {
        progress_interval: config.watch_progress_notify_interval,
        fragment_bytes: config.limits.grpc_receive_bytes(),
        outbox_bytes: WATCH_OUTBOX_BYTES,
        event_log_bytes: EVENT_LOG_BYTES,
        piece_bytes: watch::Settings::PIECE_BYTES,
        piece_revisions: watch::Settings::PIECE_REVISIONS,
    }
}

fn lease_settings(config: &Config) -> LeaseSettings {
    LeaseSettings {
        min_ttl: config.raft.min_lease_ttl_seconds(),
        extension: config.raft.election_timeout,
        request_timeout: config.raft.request_timeout(),
        checkpoint_interval: Some(LeaseSettings::CHECKPOINT_INTERVAL),
    }
}

fn answer_bytes(config: &Config) -> usize {
    usize::try_from(config.storage.memory_budget_bytes / ANSWER_SHARE).unwrap_or(usize::MAX)
}

impl From<crate::config::Quota> for Quota {
    fn from(quota: crate::config::Quota) -> Self {
        match quota {
            crate::config::Quota::Unlimited => Self::new(None),
            crate::config::Quota::Bytes(bytes) => Self::new(Some(bytes)),
        }
    }
}
