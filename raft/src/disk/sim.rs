//! A disk that breaks on purpose, the same way each time.
//!
//! Files are sectors with a durable version and, since the last flush, versions that only the device's
//! cache has. A [power cut](SimDisk::power_cut) keeps of each unflushed sector any version, seeded, and forgets the
//! rest; names that were not flushed may be the old or the new ones. Operations can be made to fail, the
//! power to go out in the middle of them, and bits to rot.

mod file;
mod state;

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use openraft::AsyncRuntime;
use parking_lot::Mutex;

use super::{Completion, Disk, DiskError, FileInfo, FileName, Op};
use state::{Request, State, Stop};

/// What goes wrong, and when. Steps are the device's own: each write, flush, creation, renaming, deletion and
/// directory flush counts one, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The power goes out **before** this step: it and everything later never happens, and nothing is heard of it.
    PowerCut {
        /// The step.
        at: u64,
    },
    /// This step fails with an I/O error; a failing write may have changed some of its sectors.
    Io {
        /// The step.
        at: u64,
    },
    /// This step fails for want of space.
    NoSpace {
        /// The step.
        at: u64,
    },
    /// This step takes so much longer, on the runtime's clock.
    Stall {
        /// The step.
        at: u64,
        /// How much longer.
        extra: Duration,
    },
}

/// How long the device takes; only a disk on a runtime takes time.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Of one queue's writes together.
    pub write: Duration,
    /// Of one durable flush.
    pub sync: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { write: Duration::from_micros(20), sync: Duration::from_micros(100) }
    }
}

/// Runs a task on the simulated runtime.
type Spawn = Arc<dyn Fn(Pin<Box<dyn Future<Output = ()> + Send>>) + Send + Sync>;
type Sleep = Arc<dyn Fn(Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Who drives the device.
#[derive(Clone)]
enum Drive {
    /// Every submission is carried out before it returns.
    Inline,
    /// The owner calls [`SimDisk::run_queued`].
    Manual,
    /// A task on a runtime, taking the runtime's time.
    Runtime { spawn: Spawn, sleep: Sleep, timing: Timing },
}

/// A simulated disk. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    drive: Drive,
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk").field("steps", &self.steps()).finish_non_exhaustive()
    }
}

impl SimDisk {
    /// An empty disk that carries out each submission before it returns. For plain tests.
    pub fn inline(seed: u64) -> Self {
        Self { state: Arc::new(Mutex::new(State::new(seed))), drive: Drive::Inline }
    }

    /// An empty disk that does nothing until [`run_queued`](Self::run_queued).
    pub fn manual(seed: u64) -> Self {
        Self { state: Arc::new(Mutex::new(State::new(seed))), drive: Drive::Manual }
    }

    /// An empty disk whose device is a task on `R`.
    pub fn on_runtime<R: AsyncRuntime>(seed: u64, timing: Timing) -> Self {
        let spawn: Spawn = Arc::new(|task| drop(R::spawn(task)));
        let sleep: Sleep = Arc::new(|duration| Box::pin(R::sleep(duration)));
        let drive = Drive::Runtime { spawn, sleep, timing };
        Self { state: Arc::new(Mutex::new(State::new(seed))), drive }
    }

    /// Adds a fault.
    pub fn inject(&self, fault: Fault) {
        self.state.lock().faults.push(fault);
    }

    /// Steps taken so far: where a fault could have struck.
    pub fn steps(&self) -> u64 {
        self.state.lock().step
    }

    /// Durable flushes so far.
    pub fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }

    /// Whether a [`Fault::PowerCut`] has struck.
    pub fn is_dark(&self) -> bool {
        self.state.lock().dark
    }

    /// What is found when the power comes back, driven as this disk was. This disk is dark from now on: nothing submitted
    /// to it happens or completes. `seed` decides the fate of what was not flushed.
    #[must_use]
    pub fn power_cut(&self, seed: u64) -> Self {
        let mut state = self.state.lock();
        state.dark = true;
        Self { state: Arc::new(Mutex::new(state.after_power_cut(seed))), drive: self.drive.clone() }
    }

    /// What the next process finds after a kill: everything that was written, flushed or not. This disk is dark from now on.
    #[must_use]
    pub fn process_killed(&self) -> Self {
        let mut state = self.state.lock();
        state.dark = true;
        Self { state: Arc::new(Mutex::new(state.after_kill())), drive: self.drive.clone() }
    }

    /// A disk with the same bytes, all of them durable, that shares nothing with this one.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self {
            state: Arc::new(Mutex::new(self.state.lock().after_kill())),
            drive: self.drive.clone(),
        }
    }

    /// Flips bits of a byte at rest.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn flip(&self, file: &FileName, offset: u64, mask: u8) {
        self.state.lock().file_mut(file).flip(offset, mask);
    }

    /// Overwrites bytes at rest.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn overwrite(&self, file: &FileName, offset: u64, bytes: &[u8]) {
        self.state.lock().file_mut(file).overwrite_at_rest(offset, bytes);
    }

    /// Carries out what is queued, as one batch; for [`manual`](Self::manual) disks. False when nothing was queued.
    pub fn run_queued(&self) -> bool {
        let batch = std::mem::take(&mut self.state.lock().queue);
        if batch.is_empty() {
            return false;
        }
        self.carry_out(batch);
        true
    }

    fn carry_out(&self, batch: Vec<Request>) {
        let mut waiting = Vec::new();
        let result = self.state.lock().apply(batch, &mut waiting);
        self.complete(waiting, result);
    }

    /// A dark disk answers nobody.
    fn complete(&self, waiting: Vec<Completion>, result: Result<(), Stop>) {
        match result {
            Ok(()) => {
                for done in waiting {
                    done(Ok(()));
                }
            }
            Err(Stop::Failed(error)) => {
                for done in waiting {
                    done(Err(error.clone()));
                }
            }
            Err(Stop::Dark) => self.state.lock().unanswered.extend(waiting),
        }
    }

    /// The device's task: one batch after another until nothing is queued.
    async fn serve(self) {
        let Drive::Runtime { sleep, timing, .. } = &self.drive else { return };
        loop {
            sleep(timing.write).await;
            let (batch, extra) = {
                let mut state = self.state.lock();
                if state.queue.is_empty() {
                    state.serving = false;
                    return;
                }
                let batch = std::mem::take(&mut state.queue);
                let extra = state.stall_ahead(&batch);
                (batch, extra)
            };
            // Written first and flushed after the wait, so that a power cut in between finds unflushed sectors.
            let mut waiting = Vec::new();
            let written = self.state.lock().begin(batch, &mut waiting);
            sleep(timing.sync + extra).await;
            let result = written.and_then(|()| self.state.lock().finish());
            self.complete(waiting, result);
        }
    }
}

impl Disk for SimDisk {
    fn submit(&self, op: Op, done: Option<Completion>) {
        let start = {
            let mut state = self.state.lock();
            if state.dark {
                state.unanswered.extend(done);
                return;
            }
            if let Some(error) = state.failed.clone() {
                drop(state);
                return done.map_or((), |done| done(Err(error)));
            }
            state.queue.push(Request { op, done });
            !std::mem::replace(&mut state.serving, true)
        };
        match &self.drive {
            Drive::Inline => {
                self.run_queued();
            }
            Drive::Runtime { spawn, .. } if start => spawn(Box::pin(self.clone().serve())),
            Drive::Runtime { .. } | Drive::Manual => {}
        }
    }

    fn list(&self) -> Result<Vec<FileInfo>, DiskError> {
        Ok(self.state.lock().list())
    }

    fn read(&self, file: &FileName, offset: u64, len: usize) -> Result<Vec<u8>, DiskError> {
        self.state.lock().read(file, offset, len)
    }

    fn path(&self, file: &FileName) -> PathBuf {
        PathBuf::from("sim").join(file.as_str())
    }
}
