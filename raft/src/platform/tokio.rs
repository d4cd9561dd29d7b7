//! What ships: tokio, files, the configured engine.

use std::fmt;
use std::fs::DirBuilder;
use std::future::Future;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft_rt_tokio::TokioRuntime;
use vetch_storage::{Engine, Fatal};

use super::Platform;
use crate::disk::{Disk, DiskError, DiskObserver, FsDisk};
use crate::manifest::DirLock;
use crate::transport::grpc::{Dial, GrpcTransport};
use crate::transport::observer::PeerObserver;

type OpenEngine<E> = dyn Fn(&Path) -> Result<E, Fatal> + Send + Sync;

/// Tokio, files, and engine `E`.
pub struct Tokio<E> {
    engine_name: &'static str,
    open_engine: Arc<OpenEngine<E>>,
    disk_observer: Arc<dyn DiskObserver>,
    transport: GrpcTransport,
}

impl<E> Tokio<E> {
    /// A platform with a [`GrpcTransport`] of its own, whose engine is opened by `open_engine` and recorded as `engine_name`; what the
    /// log's disk does is told to `disk_observer`.
    pub fn new(
        engine_name: &'static str,
        open_engine: impl Fn(&Path) -> Result<E, Fatal> + Send + Sync + 'static,
        disk_observer: Arc<dyn DiskObserver>,
    ) -> Self {
        let (open_engine, transport) = (Arc::new(open_engine), GrpcTransport::new());
        Self { engine_name, open_engine, disk_observer, transport }
    }
}

impl<E> Tokio<E> {
    /// With connections to peers that `dial` opens; what they carry is told to `observer`.
    #[must_use]
    pub fn dialling(self, dial: Arc<dyn Dial>, observer: Arc<dyn PeerObserver>) -> Self {
        Self { transport: GrpcTransport::dialling(dial, observer), ..self }
    }
}

impl<E> Clone for Tokio<E> {
    fn clone(&self) -> Self {
        Self {
            engine_name: self.engine_name,
            open_engine: Arc::clone(&self.open_engine),
            disk_observer: Arc::clone(&self.disk_observer),
            transport: self.transport.clone(),
        }
    }
}

impl<E> fmt::Debug for Tokio<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokio").field("engine", &self.engine_name).finish_non_exhaustive()
    }
}

impl<E: Engine + fmt::Debug> Platform for Tokio<E> {
    type Runtime = TokioRuntime;
    type Engine = E;
    type Transport = GrpcTransport;

    fn engine_name(&self) -> &'static str {
        self.engine_name
    }

    fn open_engine(&self, dir: &Path) -> Result<Arc<E>, Fatal> {
        (self.open_engine)(dir).map(Arc::new)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)
    }

    fn subdirs(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        match std::fs::remove_dir_all(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done @ (Ok(()) | Err(_)) => done,
        }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::File::open(dir)?.sync_all()
    }

    fn try_lock(&self, dir: &Path) -> io::Result<Option<DirLock>> {
        DirLock::try_acquire(dir)
    }

    fn open_disk(&self, dir: &Path) -> Result<Arc<dyn Disk>, DiskError> {
        Ok(Arc::new(FsDisk::open(dir, Arc::clone(&self.disk_observer))?))
    }

    fn checkpoint_dir(&self, dir: &Path) -> Option<PathBuf> {
        Some(dir.to_owned())
    }

    fn transport(&self) -> GrpcTransport {
        self.transport.clone()
    }

    #[expect(clippy::disallowed_methods, reason = "this is where the platform's own is made")]
    fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send {
        let work = ::tokio::task::spawn_blocking(work);
        async {
            match work.await {
                Ok(done) => done,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // Only a runtime that shuts down cancels blocking work, and then nobody waits.
                    Err(_) => std::future::pending().await,
                },
            }
        }
    }

    fn random(&self) -> u64 {
        rand::random()
    }
}
