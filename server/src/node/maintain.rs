//! The engine's upkeep in the background, in small pieces.

use std::time::Duration;

use vetch_raft::{AsyncRuntime, Platform, Replica};
use vetch_storage::Fatal;
use vetch_storage::engine::Budget;

/// Rest between two looks; a look that finds nothing to do costs microseconds. Short, because what
/// piles up between two is what a put may have to wait for.
const EVERY: Duration = Duration::from_millis(200);
/// What one look may rewrite.
const BUDGET: Budget = Budget { bytes: 16 * 1024 * 1024 };

/// Runs until the node stops. Damage found ends it.
pub(super) async fn run<P: Platform>(platform: P, replica: Replica<P>) -> Fatal {
    loop {
        P::Runtime::sleep(EVERY).await;
        // Taken anew each time: a view that is held keeps compaction from deleting.
        let view = replica.view();
        if let Err(fatal) = platform.blocking(move || view.maintain(BUDGET)).await {
            return fatal;
        }
    }
}
