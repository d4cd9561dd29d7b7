//! What the outside world decides for a node: runtime, engine, disk, transport.
//!
//! - [`tokio`]: what ships. Tokio's runtime, files, the configured engine.
//! - [`sim`]: virtual time, a simulated disk, the memory engine.

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::AsyncRuntime;
use vetch_storage::{Engine, Fatal};

use crate::disk::{Disk, DiskError};
use crate::log::LogOptions;
use crate::manifest::DirLock;
use crate::transport::Transport;

pub(crate) mod latest;
pub mod sim;
pub mod tokio;

/// A moment on a platform's clock.
pub type InstantOf<P> = <<P as Platform>::Runtime as AsyncRuntime>::Instant;

/// One bundle of outside world. The shipped one is tokio, files and the chosen engine; the
/// simulator's is virtual time, a simulated disk and the memory engine. Code above is generic over it,
/// so what is simulated is what ships.
pub trait Platform: Debug + Clone + Send + Sync + 'static {
    /// Tasks, timers and channels.
    type Runtime: AsyncRuntime;
    /// The state machine's engine.
    type Engine: Engine + Debug;
    /// The way to other members.
    type Transport: Transport;

    /// The engine's name as the manifest records it.
    fn engine_name(&self) -> &'static str;

    /// Opens the engine in `dir`, creating it if there is none. Blocks.
    fn open_engine(&self, dir: &Path) -> Result<Arc<Self::Engine>, Fatal>;

    /// Makes `dir` and its parents, for this process's user alone. Blocks.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// The names of the directories in `dir`, sorted. Blocks.
    fn subdirs(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Removes `dir` and all in it; none is fine. Blocks.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names in `dir` durable. Blocks.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Bytes of one chunk of a state that is sent to a peer, about. Two are in memory at once.
    fn snapshot_chunk_bytes(&self) -> usize {
        1 << 20
    }

    /// Bytes of a received state that are written and synced at once, about: few enough that others who
    /// use the disk hardly notice.
    fn snapshot_run_bytes(&self) -> usize {
        4 * self.snapshot_chunk_bytes()
    }

    /// The right to use `dir`; `None` while another process has it.
    fn try_lock(&self, dir: &Path) -> io::Result<Option<DirLock>>;

    /// The files of `dir`. Blocks.
    fn open_disk(&self, dir: &Path) -> Result<Arc<dyn Disk>, DiskError>;

    /// How the log is laid out on such disks.
    fn log_options(&self) -> LogOptions {
        LogOptions::default()
    }

    /// Where the state machine keeps its index checkpoints, if this world has such files.
    fn checkpoint_dir(&self, dir: &Path) -> Option<PathBuf>;

    /// This machine's end of the network.
    fn transport(&self) -> Self::Transport;

    /// Runs blocking work away from the tasks of the runtime.
    fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send;

    /// 64 bits that no other node draws too; from the seed where everything is.
    fn random(&self) -> u64;
}

/// Lets every other runnable task run once. On any runtime.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}
