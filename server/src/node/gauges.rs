//! Gauges that mirror the state, set when somebody looks.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use vetch_raft::{Platform, Replica};

use crate::metrics::{Gauge, Metrics};
use crate::rpc::Api;

/// Lets every scrape look at `api`; not for longer than it lives.
pub(super) fn mirror<P: Platform>(api: &Arc<Api<P>>) {
    let shown = Arc::downgrade(api);
    api.metrics.set_refresh(move |metrics| {
        if let Some(api) = shown.upgrade() {
            refresh(&api, metrics);
        }
    });
}

fn refresh<P: Platform>(api: &Api<P>, metrics: &Metrics) {
    show_consensus(api, metrics);
    show_state(api, metrics);
    let (watch, shown) = (&api.watch.metrics, &metrics.watch);
    shown.streams.set(watch.streams.load(Ordering::Relaxed));
    shown.watchers.set(watch.watchers.load(Ordering::Relaxed));
    shown.slow_watchers.set(watch.slow_watchers.load(Ordering::Relaxed));
    shown.pending_events.set(watch.pending_events.load(Ordering::Relaxed));
    shown.events.raise_to(watch.events.load(Ordering::Relaxed));
}

fn show_consensus<P: Platform>(api: &Api<P>, metrics: &Metrics) {
    let (status, server) = (api.replica.status(), &metrics.server);
    server.has_leader.set(status.leader.is_some().into());
    server.is_leader.set(status.is_leader.into());
    server.is_learner.set(status.is_learner.into());
    set(&server.proposals_committed, status.committed.get());
    set(&server.proposals_applied, status.applied.get());
    set(&server.state_agreed, status.agreed.get());
    set(&server.proposals_pending, status.pending as u64);
    server.slow_disk_handovers.raise_to(status.slow_disk_handovers);
}

fn show_state<P: Platform>(api: &Api<P>, metrics: &Metrics) {
    let (view, mvcc) = (api.replica.view(), &metrics.mvcc);
    let sizes = view.sizes();
    set(&mvcc.db_total_size, sizes.on_disk.max(sizes.live));
    set(&mvcc.db_size_in_use, sizes.live);
    mvcc.current_revision.set(view.revision().get());
    mvcc.compact_revision.set(view.compact_revision().map_or(-1, vetch_storage::Revision::get));
    set(&mvcc.keys, view.index().live_len() as u64);
    metrics.set_alarms(
        view.alarms().iter().map(|(member, kind)| (member.get(), kind.to_proto().as_str_name())),
    );
    let members = view.members().iter().map(|member| member.id);
    metrics.set_peers(api.identity.member_id.get(), members);
    if let Some(version) = view.cluster_version() {
        // The label is major and minor only.
        let (label, _patch) = version.rsplit_once('.').unwrap_or((version, ""));
        metrics.set_cluster_version(label);
    }
}

fn set(gauge: &Gauge, value: u64) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}

/// Counts the leaders this member sees, itself included, until the replica ends.
pub(super) async fn count_leaders<P: Platform>(replica: Replica<P>, metrics: Arc<Metrics>) {
    let mut leaders = replica.leaders();
    drop(replica);
    while let Some(leader) = leaders.changed().await {
        if let Some(leader) = leader {
            metrics.server.leader_changes_seen.inc();
            tracing::info!(leader = %format_args!("{:x}", leader.get()), "leader changed");
        } else {
            tracing::info!("there is no leader");
        }
    }
}
