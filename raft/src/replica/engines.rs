//! Where a member's states are: one engine directory each, and one of them in use.
//!
//! A state from a peer is received into a directory of its own, beside the engine in use. The manifest
//! names the one in use, so a crash finds either the old state or the new one, complete; what is left of
//! the other is removed at the next start.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openraft_rt::{AsyncRuntime, Select2};
use vetch_storage::machine::{Options, Replaced};
use vetch_storage::{Fatal, LogIndex};

use super::compare::Divergence;
use super::stop::Stop;
use crate::disk::{Disk, DiskError};
use crate::manifest::{self, DirLock, Manifest, StateInUse};
use crate::platform::Platform;

/// The first state's directory; those that were received have a number behind it.
const ENGINE: &str = "engine";
/// How often it is asked whether the readers of a replaced state are done.
const REPLACED_POLL: Duration = Duration::from_millis(100);

/// The engine directory of a state.
pub(super) fn engine_dir(data_dir: &Path, generation: u64) -> PathBuf {
    data_dir.join("member").join(name(generation))
}

/// Where a state's index checkpoint is: apart from every other's, which would not fit.
fn checkpoint_dir(data_dir: &Path, generation: u64) -> PathBuf {
    let snap = data_dir.join("member/snap");
    if generation == 0 { snap } else { snap.join(name(generation)) }
}

fn name(generation: u64) -> String {
    if generation == 0 { ENGINE.to_owned() } else { format!("{ENGINE}-{generation}") }
}

/// How the state machine on a state's engine is opened: the directory is nobody else's until the engine
/// is closed. Blocks.
pub(super) fn options<P: Platform>(
    platform: &P,
    data_dir: &Path,
    generation: u64,
    lock: Arc<DirLock>,
) -> Result<Options, Fatal> {
    let dir = checkpoint_dir(data_dir, generation);
    platform.create_dir(&dir).map_err(|error| Fatal::io(&dir, "creating the directory", &error))?;
    Ok(Options { checkpoint_dir: platform.checkpoint_dir(&dir), outlives: Some(lock) })
}

/// Removes what is left of every state but the one in use. What cannot be removed costs space, and is
/// tried again. Blocks.
pub(super) fn remove_leftovers<P: Platform>(platform: &P, data_dir: &Path, in_use: u64) {
    for parent in [data_dir.join("member"), data_dir.join("member/snap")] {
        if let Err(error) = remove_leftovers_in(platform, &parent, in_use) {
            tracing::warn!(%error, path = %parent.display(), "what is left of another state stays");
        }
    }
}

fn remove_leftovers_in<P: Platform>(platform: &P, parent: &Path, in_use: u64) -> io::Result<()> {
    for found in platform.subdirs(parent)? {
        if is_leftover(&found, in_use) {
            let path = parent.join(found);
            tracing::info!(path = %path.display(), "removing a state that is not in use");
            platform.remove_dir(&path)?;
        }
    }
    Ok(())
}

/// Whether a directory's name is that of a state that is not in use, complete or in the making. The
/// first state's own making is the engine's affair.
fn is_leftover(found: &str, in_use: u64) -> bool {
    if in_use == 0 {
        return found.strip_prefix(ENGINE).is_some_and(|rest| rest.starts_with('-'));
    }
    found.starts_with(ENGINE) && found != name(in_use)
}

/// The states of a running member.
pub(crate) struct Engines<P: Platform> {
    platform: P,
    data_dir: PathBuf,
    /// The last generation that was begun.
    begun: AtomicU64,
    in_use: AtomicU64,
    /// Held across a write. `None` once the member has stopped.
    home: tokio::sync::Mutex<Option<Home>>,
    stop: Arc<Stop>,
}

/// The member's directory.
pub(super) struct Home {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) manifest: Manifest,
    /// Others may use the directory when nobody has this any more.
    pub(super) lock: Arc<DirLock>,
}

/// A state that is about to be received.
pub(super) struct Begun<E> {
    pub(super) generation: u64,
    pub(super) engine: Arc<E>,
}

impl<P: Platform> fmt::Debug for Engines<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engines").field("in_use", &self.in_use()).finish_non_exhaustive()
    }
}

impl<P: Platform> Engines<P> {
    pub(super) fn new(platform: P, data_dir: PathBuf, home: Home, stop: Arc<Stop>) -> Self {
        let generation = home.manifest.state.generation;
        Self {
            platform,
            data_dir,
            begun: AtomicU64::new(generation),
            in_use: AtomicU64::new(generation),
            home: tokio::sync::Mutex::new(Some(home)),
            stop,
        }
    }

    /// The generation of the state in use.
    pub(crate) fn in_use(&self) -> u64 {
        self.in_use.load(Ordering::Acquire)
    }

    /// An empty engine for a state that is to come.
    pub(super) async fn begin(&self) -> Result<Begun<P::Engine>, Fatal> {
        let generation = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let (platform, dir) = (self.platform.clone(), engine_dir(&self.data_dir, generation));
        let open = move || {
            let removed = platform.remove_dir(&dir);
            removed.map_err(|error| Fatal::io(&dir, "removing what was left here", &error))?;
            platform.open_engine(&dir)
        };
        let engine = self.platform.blocking(open).await?;
        Ok(Begun { generation, engine })
    }

    /// How the state machine of `generation` is opened.
    pub(super) async fn options(&self, generation: u64) -> Result<Options, Fatal> {
        let lock = self.home.lock().await.as_ref().map(|home| Arc::clone(&home.lock));
        let lock = lock.ok_or(DiskError::Closed)?;
        let (platform, data_dir) = (self.platform.clone(), self.data_dir.clone());
        self.platform.blocking(move || options(&platform, &data_dir, generation, lock)).await
    }

    /// Puts the complete and durable state of `generation` in use, durably.
    pub(crate) async fn switch(&self, generation: u64, installed: LogIndex) -> Result<(), Fatal> {
        let parent = self.data_dir.join("member");
        let (platform, dir) = (self.platform.clone(), parent.clone());
        let synced = self.platform.blocking(move || platform.sync_dir(&dir)).await;
        synced.map_err(|error| Fatal::io(&parent, "making a new directory durable", &error))?;
        let state = StateInUse { generation, installed };
        // That the log has begun is not said here: what follows the state in it is not on disk yet.
        self.note(|manifest| Manifest { state, ..manifest }).await?;
        self.in_use.store(generation, Ordering::Release);
        Ok(())
    }

    /// Notes that the log of a member that joins has had its first entry.
    pub(super) async fn log_has_begun(&self) -> Result<(), Fatal> {
        self.note(|manifest| Manifest { initialized: true, ..manifest }).await
    }

    /// The member's directory.
    pub(super) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Notes that the state is not the group's: the directory does not start again.
    pub(super) async fn note_divergence(&self, divergence: &Divergence) -> Result<(), Fatal> {
        let diverged = Some(divergence.to_string());
        self.note(|manifest| Manifest { diverged, ..manifest }).await
    }

    /// Notes what this member promises its leaders from now on.
    pub(super) async fn promise(&self, keeps_ms: u64) -> Result<(), Fatal> {
        self.note(|manifest| Manifest { keeps_ms, ..manifest }).await
    }

    /// Replaces the manifest; the one place that does while the member runs.
    async fn note(&self, change: impl FnOnce(Manifest) -> Manifest) -> Result<(), Fatal> {
        let mut guard = self.home.lock().await;
        let home = guard.as_mut().ok_or(DiskError::Closed)?;
        let next = change(home.manifest.clone());
        manifest::store(&*home.disk, &next).await?;
        home.manifest = next;
        Ok(())
    }

    /// Removes a state that did not come into use, or is no longer. Nothing may have it open.
    pub(super) async fn remove(&self, generation: u64) {
        let (platform, data_dir) = (self.platform.clone(), self.data_dir.clone());
        let remove = move || {
            platform.remove_dir(&engine_dir(&data_dir, generation))?;
            let dir = checkpoint_dir(&data_dir, generation);
            if generation == 0 { Ok(()) } else { platform.remove_dir(&dir) }
        };
        if let Err(error) = self.platform.blocking(remove).await {
            tracing::warn!(%error, generation, "a state not in use is left until the next start");
        }
    }

    /// Waits until nobody reads a replaced state any more, closes it and removes it. Not on the applying
    /// task: closing an engine takes a while.
    pub(crate) async fn retire(self: Arc<Self>, generation: u64, replaced: Replaced<P::Engine>) {
        while !replaced.is_unused() {
            let pause = P::Runtime::sleep(REPLACED_POLL);
            let ended = Box::pin(self.stop.ended());
            if let Select2::First(()) = P::Runtime::select2(ended, pause).await {
                // What is left of it goes at the next start.
                return self.platform.blocking(move || drop(replaced)).await;
            }
        }
        self.platform.blocking(move || drop(replaced)).await;
        self.remove(generation).await;
    }

    /// Lets go of the directory: no other state comes into use from now on.
    pub(super) async fn close(&self) {
        self.home.lock().await.take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_are_all_states_but_the_one_in_use() {
        for (found, in_use, expected) in [
            ("engine", 0, false),
            ("engine.creating", 0, false),
            ("engine-1", 0, true),
            ("engine-1.creating", 0, true),
            ("engine", 2, true),
            ("engine-1", 2, true),
            ("engine-2", 2, false),
            ("engine-2.creating", 2, true),
            ("engine-20", 2, true),
            ("wal", 2, false),
            ("snap", 0, false),
        ] {
            assert_eq!(is_leftover(found, in_use), expected, "{found} beside {in_use}");
        }
    }
}
