//! What the outside world decides for a node: runtime, engine, disk.

use std::fmt::Debug;

use openraft::AsyncRuntime;
use vetch_storage::Engine;

/// One bundle of outside world. The shipped one is tokio, files and the chosen engine; the
/// simulator's is virtual time, a simulated disk and the memory engine. Code above is generic over it,
/// so what is simulated is what ships.
pub trait Platform: Debug + Clone + Send + Sync + 'static {
    /// Tasks, timers and channels.
    type Runtime: AsyncRuntime;
    /// The state machine's engine.
    type Engine: Engine;
}
