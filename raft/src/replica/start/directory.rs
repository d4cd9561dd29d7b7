//! What a start opens.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join;
use openraft_rt::AsyncRuntime;
use vetch_storage::machine::IndexCheckpoint;
use vetch_storage::{Fatal, StateMachine};

use crate::disk::{Disk, FileName};
use crate::manifest::{self, DirLock, Manifest};
use crate::platform::Platform;
use crate::replica::{Bootstrap, OpenError, engines};

/// How often a held directory is asked for.
const LOCK_POLL: Duration = Duration::from_millis(100);

/// Makes the directory and waits for the right to use it.
pub(super) async fn take_directory<P: Platform>(
    platform: &P,
    dir: &Path,
) -> Result<DirLock, OpenError> {
    let failed = |error: io::Error| OpenError::Directory {
        path: dir.to_owned(),
        message: error.to_string(),
    };
    platform.create_dir(&dir.join("member/snap")).map_err(failed)?;
    let mut waiting = false;
    loop {
        if let Some(lock) = platform.try_lock(dir).map_err(failed)? {
            if waiting {
                tracing::info!(path = %dir.display(), "the data directory is free; going on");
            }
            return Ok(lock);
        }
        if !std::mem::replace(&mut waiting, true) {
            tracing::warn!(
                path = %dir.display(),
                "another process uses this data directory; waiting until it ends"
            );
        }
        // Asked again and again, not waited for in the kernel, so that a signal can end the wait.
        P::Runtime::sleep(LOCK_POLL).await;
    }
}

/// A state that was found to be another than its cluster's is not served again, unless there shall be
/// no such cluster any more.
pub(super) async fn refuse_diverged(
    home: &dyn Disk,
    manifest: &mut Manifest,
    data_dir: &Path,
    bootstrap: Bootstrap,
) -> Result<(), OpenError> {
    let Some(what) = manifest.diverged.clone() else { return Ok(()) };
    if bootstrap != Bootstrap::ForceNew {
        return Err(OpenError::Diverged { data_dir: data_dir.display().to_string(), what });
    }
    tracing::warn!(what, "--force-new-cluster: a new cluster begins with this state all the same");
    manifest.diverged = None;
    manifest::store(home, manifest).await?;
    Ok(())
}

/// The directory's manifest; a fresh directory gets `fresh`.
pub(super) async fn read_or_make<P: Platform>(
    platform: &P,
    home: &dyn Disk,
    fresh: impl FnOnce() -> Manifest,
) -> Result<Manifest, OpenError> {
    if let Some(manifest) = manifest::load(home)? {
        let path = home.path(&FileName::new("MANIFEST"));
        manifest.check_engine(&path, platform.engine_name())?;
        return Ok(manifest);
    }
    let manifest = fresh();
    manifest::store(home, &manifest).await?;
    Ok(manifest)
}

pub(super) async fn open_machine<P: Platform>(
    platform: &P,
    data_dir: &Path,
    generation: u64,
    lock: Arc<DirLock>,
) -> Result<StateMachine<P::Engine>, Fatal> {
    let engine_dir = engines::engine_dir(data_dir, generation);
    let (preparer, data_dir) = (platform.clone(), data_dir.to_owned());
    let prepare = move || {
        engines::remove_leftovers(&preparer, &data_dir, generation);
        engines::options(&preparer, &data_dir, generation, lock)
    };
    let options = platform.blocking(prepare).await?;
    let checkpoint_dir = options.checkpoint_dir.clone();
    let opener = platform.clone();
    let engine = platform.blocking(move || opener.open_engine(&engine_dir));
    let checkpoint = platform.blocking(move || match checkpoint_dir {
        Some(directory) => IndexCheckpoint::read(&directory),
        None => Ok(IndexCheckpoint::default()),
    });
    let (engine, checkpoint) = join(engine, checkpoint).await;
    let (engine, checkpoint) = (engine?, checkpoint?);
    platform.blocking(move || StateMachine::open_with(engine, checkpoint, options)).await
}
