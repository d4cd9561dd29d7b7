//! Until openraft, or this member, ends.

use std::sync::Arc;

use openraft::error::Fatal as RaftFatal;
use openraft_rt::{AsyncRuntime, Select2, WatchReceiver};
use vetch_storage::Fatal;

use crate::platform::Platform;
use crate::replica::Inner;
use crate::replica::leadership::follow;
use crate::replica::stop::StopReason;
use crate::types::{Cause, TypeConfig};

/// The fatal error openraft ended with.
pub(super) fn raft_fatal<R: AsyncRuntime>(error: &RaftFatal<TypeConfig<R>>) -> Fatal {
    Cause::of(error).fatal().clone()
}

/// Follows openraft until it ends, and says why it did.
pub(super) async fn supervise<P: Platform>(inner: Arc<Inner<P>>) {
    let reason = inner.stop.reason();
    let ended = P::Runtime::select2(reason, follow(Arc::clone(&inner))).await;
    if let Select2::First(reason) = ended {
        tracing::error!(%reason, "this member stops");
        if matches!(reason, StopReason::Removed | StopReason::Diverged { .. }) {
            // It may lead still, until another does.
            inner.resign().await;
        }
        drop(inner.raft.shutdown().await);
        follow(Arc::clone(&inner)).await;
    } else {
        let state = inner.raft.metrics().borrow_watched().running_state.clone();
        if let Err(error @ (RaftFatal::StorageError(_) | RaftFatal::Panicked)) = state {
            let fatal = raft_fatal(&error);
            tracing::error!(%fatal, "this member stops");
            inner.stop.raise(fatal);
        }
    }
    inner.progress.close();
    inner.awaited.close();
}
