//! The simulator's: virtual time, a simulated disk, the memory engine.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use openraft_rt_sim::SimRuntime;
use parking_lot::Mutex;
use vetch_storage::Fatal;
use vetch_storage::engine::mem::MemEngine;

use super::Platform;
use crate::disk::sim::{SimDisk, Timing};
use crate::disk::{Disk, DiskError};
use crate::log::LogOptions;
use crate::manifest::DirLock;
use crate::transport::sim::{SimNetwork, SimTransport};

/// One simulated machine: what survives its crashes is here. Clones are the same machine.
#[derive(Clone, Debug)]
pub struct Sim {
    seed: u64,
    engine: Arc<MemEngine>,
    disks: Arc<Mutex<BTreeMap<PathBuf, SimDisk>>>,
    random: Arc<AtomicU64>,
    transport: SimTransport,
}

impl Sim {
    /// A machine with nothing on it, all of whose chance comes from `seed`, on a network of its own.
    pub fn new(seed: u64) -> Self {
        Self::on(&SimNetwork::new(seed), seed)
    }

    /// A machine with nothing on it, on `network`.
    pub fn on(network: &SimNetwork, seed: u64) -> Self {
        Self {
            seed,
            engine: Arc::new(MemEngine::new()),
            disks: Arc::default(),
            random: Arc::new(AtomicU64::new(seed)),
            transport: SimTransport::new(network.clone()),
        }
    }

    /// The machine's engine: its images and faults.
    pub fn engine(&self) -> &Arc<MemEngine> {
        &self.engine
    }

    /// The disk under `dir`, for faults; made when it is not there.
    pub fn disk(&self, dir: &Path) -> SimDisk {
        let mut disks = self.disks.lock();
        let seed = self.seed ^ (disks.len() as u64 + 1);
        let new = || SimDisk::on_runtime::<SimRuntime>(seed, Timing::default());
        disks.entry(dir.to_owned()).or_insert_with(new).clone()
    }

    /// What is found when the power comes back. Nothing that runs on this machine has any effect
    /// from now on; `seed` decides the fate of what was not flushed.
    #[must_use]
    pub fn power_cut(&self, seed: u64) -> Self {
        self.after(self.engine.crash(), |disk| disk.power_cut(seed))
    }

    /// What the next process finds after this one was killed.
    #[must_use]
    pub fn process_killed(&self) -> Self {
        self.after(self.engine.crash_live(), SimDisk::process_killed)
    }

    /// This machine with another engine, as after a folder was replaced.
    #[must_use]
    pub fn with_engine(&self, engine: MemEngine) -> Self {
        self.after(engine, SimDisk::copy)
    }

    /// This machine with another disk under `dir`.
    #[must_use]
    pub fn with_disk(&self, dir: &Path, disk: SimDisk) -> Self {
        let disks = self.disks.lock();
        let others = disks.iter().map(|(dir, disk)| (dir.clone(), disk.copy()));
        let disks = others.chain([(dir.to_owned(), disk)]).collect();
        Self { disks: Arc::new(Mutex::new(disks)), ..self.clone() }
    }

    fn after(&self, engine: MemEngine, crash: impl Fn(&SimDisk) -> SimDisk) -> Self {
        self.transport.die();
        let disks = self.disks.lock();
        let disks = disks.iter().map(|(dir, disk)| (dir.clone(), crash(disk))).collect();
        Self {
            seed: self.seed,
            engine: Arc::new(engine),
            disks: Arc::new(Mutex::new(disks)),
            random: Arc::clone(&self.random),
            transport: SimTransport::new(self.transport.network().clone()),
        }
    }
}

impl Platform for Sim {
    type Runtime = SimRuntime;
    type Engine = MemEngine;
    type Transport = SimTransport;

    fn engine_name(&self) -> &'static str {
        "mem"
    }

    fn open_engine(&self, _: &Path) -> Result<Arc<MemEngine>, Fatal> {
        Ok(Arc::clone(&self.engine))
    }

    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn try_lock(&self, _: &Path) -> io::Result<Option<DirLock>> {
        Ok(Some(DirLock::nobody_else()))
    }

    fn open_disk(&self, dir: &Path) -> Result<Arc<dyn Disk>, DiskError> {
        Ok(Arc::new(self.disk(dir)))
    }

    /// Small segments, so that short histories cross many of them.
    fn log_options(&self) -> LogOptions {
        LogOptions { segment_bytes: 8 << 10, ..LogOptions::default() }
    }

    fn checkpoint_dir(&self, _: &Path) -> Option<PathBuf> {
        None
    }

    fn transport(&self) -> SimTransport {
        self.transport.clone()
    }

    /// Runs it in place: a second thread would end at another moment in every run.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        work()
    }

    fn random(&self) -> u64 {
        // SplitMix64 over a counter: Steele, Lea, Flood, "Fast splittable pseudorandom number
        // generators", 2014.
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.random.fetch_add(GOLDEN, Ordering::Relaxed).wrapping_add(GOLDEN);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
