//! The engine's upkeep: a family that is rarely written would keep every journal alive in which it has
//! a change that is not in its tables yet.

use std::time::Duration;

use vetch_raft::{AsyncRuntime, Platform, Replica};
use vetch_storage::Fatal;
use vetch_storage::engine::Budget;

/// Rest between two looks; a look that finds nothing to do costs microseconds.
const EVERY: Duration = Duration::from_secs(1);
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
