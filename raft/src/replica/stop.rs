//! Why and whether the replica stops.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use vetch_storage::Fatal;

use super::compare::{Divergence, remedy};
use crate::platform::latest::Latest;
use crate::types::Cause;

/// Why a member must stop by itself.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StopReason {
    /// It could not be trusted any longer.
    #[error(transparent)]
    Failed(#[from] Fatal),
    /// The group goes on without it. Its id never comes back: the data directory has no use any more.
    #[error("the member has been permanently removed from the cluster")]
    Removed,
    /// What it has applied is not what its group has: nothing it says can be relied upon. Its data
    /// directory notes it, and does not start again.
    #[error(
        "{divergence}; it must not serve: {}",
        remedy::replace_it(.data_dir.display())
    )]
    Diverged {
        /// Where it was seen.
        divergence: Divergence,
        /// The member's directory.
        data_dir: PathBuf,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Noted {
    Failed(Cause),
    Removed,
    Diverged(Divergence, PathBuf),
}

/// The first reason wins and stays; a stop asked for is told apart from it.
#[derive(Debug)]
pub(crate) struct Stop {
    reason: Latest<Option<Noted>>,
    stopping: AtomicBool,
    begun: Latest<bool>,
    ended: Latest<bool>,
}

impl Stop {
    pub(crate) fn new() -> Self {
        Self {
            reason: Latest::new(None),
            stopping: AtomicBool::new(false),
            begun: Latest::new(false),
            ended: Latest::new(false),
        }
    }

    /// The node must stop; later reasons are consequences of the first.
    pub(crate) fn raise(&self, reason: impl Into<StopReason>) {
        self.stopping.store(true, Ordering::Release);
        let noted = match reason.into() {
            StopReason::Failed(fatal) => Noted::Failed(Cause::from(fatal)),
            StopReason::Removed => Noted::Removed,
            StopReason::Diverged { divergence, data_dir } => Noted::Diverged(divergence, data_dir),
        };
        self.reason.update(|first| {
            first.get_or_insert(noted);
        });
        self.begun.set(true);
    }

    /// Nothing new is taken from now on.
    pub(crate) fn begin(&self) {
        self.stopping.store(true, Ordering::Release);
        self.begun.set(true);
    }

    /// Peers are served no more.
    pub(crate) fn end(&self) {
        self.ended.set(true);
    }

    /// Resolves when peers are served no more.
    pub(crate) async fn ended(&self) {
        self.ended.until(|ended| *ended).await;
    }

    /// Stopping or failed.
    pub(crate) fn has_begun(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Resolves when it stops or has failed.
    pub(crate) async fn begun(&self) {
        self.begun.until(|begun| *begun).await;
    }

    /// Failed, not merely asked to stop.
    pub(crate) fn has_failed(&self) -> bool {
        matches!(self.reason.get(), Some(Noted::Failed(_)))
    }

    /// Resolves with the reason, once there is one.
    pub(crate) async fn reason(&self) -> StopReason {
        match self.reason.until(Option::is_some).await {
            Some(Noted::Failed(cause)) => StopReason::Failed(cause.fatal().clone()),
            Some(Noted::Removed) => StopReason::Removed,
            Some(Noted::Diverged(divergence, data_dir)) => {
                StopReason::Diverged { divergence, data_dir }
            }
            None => unreachable!("waited for a reason"),
        }
    }
}
