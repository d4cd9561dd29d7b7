//! Why and whether the replica stops.

use std::sync::atomic::{AtomicBool, Ordering};

use vetch_storage::Fatal;

use crate::platform::latest::Latest;
use crate::types::Cause;

/// The first fatal error wins and stays; a stop asked for is told apart from it.
#[derive(Debug)]
pub(crate) struct Stop {
    failed: Latest<Option<Cause>>,
    stopping: AtomicBool,
    ended: Latest<bool>,
}

impl Stop {
    pub(crate) fn new() -> Self {
        Self {
            failed: Latest::new(None),
            stopping: AtomicBool::new(false),
            ended: Latest::new(false),
        }
    }

    /// The node must stop; later reasons are consequences of the first.
    pub(crate) fn raise(&self, fatal: Fatal) {
        self.stopping.store(true, Ordering::Release);
        self.failed.update(|first| {
            first.get_or_insert_with(|| Cause::from(fatal));
        });
    }

    /// Nothing new is taken from now on.
    pub(crate) fn begin(&self) {
        self.stopping.store(true, Ordering::Release);
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

    /// Failed, not merely asked to stop.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.get().is_some()
    }

    /// Resolves with the reason, once there is one.
    pub(crate) async fn fatal(&self) -> Fatal {
        match self.failed.until(Option::is_some).await {
            Some(cause) => cause.fatal().clone(),
            None => unreachable!("waited for a reason"),
        }
    }
}
