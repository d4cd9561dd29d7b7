//! What was applied, on its way from the applying task to leases, watchers and the compactor.

use std::sync::Arc;
use std::time::Duration;

use vetch_proto::vetchpb::proposal::Command;
use vetch_raft::{ApplyObserver, Platform};
use vetch_storage::{Applied, ReadView};

use super::apply_meter::ApplyMeter;
use crate::compactor::CompactionState;
use crate::lease::Leases;
use crate::watch::WatchHub;

/// Hands on what was applied. Called on the applying task, after the new view is visible and before
/// clients are answered.
pub(super) struct Observer<P: Platform> {
    pub(super) leases: Arc<Leases<P>>,
    pub(super) watch: Arc<WatchHub<P>>,
    pub(super) compaction: Arc<CompactionState>,
    pub(super) meter: ApplyMeter,
}

impl<P: Platform> ApplyObserver<P> for Observer<P> {
    fn on_applied(&self, view: &ReadView<P::Engine>, applied: &[Arc<Applied>]) {
        self.leases.on_applied(applied);
        self.watch.on_applied(view, applied);
        self.compaction.follow(view.compact_revision());
    }

    fn on_installed(&self, view: &ReadView<P::Engine>) {
        self.watch.on_installed(view);
        self.compaction.follow(view.compact_revision());
    }
    fn on_command(&self, command: &Command, applied: &Applied, took: Duration) {
        self.meter.command(command, applied, took);
    }

    fn on_committed(&self, took: Duration) {
        self.meter.committed(took);
    }
}
