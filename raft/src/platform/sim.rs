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
use crate::transport::observer::PeerObserver;
use crate::transport::sim::{SimNetwork, SimTransport};

/// One simulated machine: what survives its crashes is here. Clones are the same machine.
#[derive(Clone, Debug)]
pub struct Sim {
    seed: u64,
    engines: Arc<Mutex<Engines>>,
    disks: Arc<Mutex<BTreeMap<PathBuf, SimDisk>>>,
    random: Arc<AtomicU64>,
    transport: SimTransport,
}

/// The machine's engines, by directory.
#[derive(Debug)]
struct Engines {
    by_dir: BTreeMap<PathBuf, Arc<MemEngine>>,
    /// What the first directory will have.
    first: Arc<MemEngine>,
}

impl Engines {
    fn new(first: MemEngine) -> Self {
        Self { by_dir: BTreeMap::new(), first: Arc::new(first) }
    }

    /// The newest: their names count up.
    fn newest(&self) -> &Arc<MemEngine> {
        let newest = self.by_dir.iter().max_by_key(|(dir, _)| (dir.as_os_str().len(), *dir));
        newest.map_or(&self.first, |(_, engine)| engine)
    }

    fn crash(&self, crash: impl Fn(&MemEngine) -> MemEngine) -> Self {
        let by_dir = self.by_dir.iter().map(|(dir, engine)| (dir.clone(), Arc::new(crash(engine))));
        Self { by_dir: by_dir.collect(), first: Arc::new(crash(&self.first)) }
    }
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
            engines: Arc::new(Mutex::new(Engines::new(MemEngine::new()))),
            disks: Arc::default(),
            random: Arc::new(AtomicU64::new(seed)),
            transport: SimTransport::new(network.clone()),
        }
    }

    /// This machine; whole states that come or go are told to `observer`.
    #[must_use]
    pub fn observed_by(&self, observer: Arc<dyn PeerObserver>) -> Self {
        Self { transport: self.transport.observed_by(observer), ..self.clone() }
    }

    /// The machine's engine: its images and faults. The newest one, while a state from a peer is
    /// received beside the one in use.
    pub fn engine(&self) -> Arc<MemEngine> {
        Arc::clone(self.engines.lock().newest())
    }

    /// All engines there are: see [`engine_count`](Self::engine_count).
    pub fn engines(&self) -> Vec<Arc<MemEngine>> {
        let engines = self.engines.lock();
        if engines.by_dir.is_empty() {
            return vec![Arc::clone(&engines.first)];
        }
        engines.by_dir.values().map(Arc::clone).collect()
    }

    /// How many engines there are: more than one while a state from a peer is received, or replaced
    /// another.
    pub fn engine_count(&self) -> usize {
        self.engines.lock().by_dir.len()
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
        let engines = self.engines.lock().crash(MemEngine::crash);
        self.after(engines, |disk| disk.power_cut(seed))
    }

    /// What the next process finds after this one was killed.
    #[must_use]
    pub fn process_killed(&self) -> Self {
        let engines = self.engines.lock().crash(MemEngine::crash_live);
        self.after(engines, SimDisk::process_killed)
    }

    /// This machine with another engine, as after a folder was replaced.
    #[must_use]
    pub fn with_engine(&self, engine: MemEngine) -> Self {
        self.after(Engines::new(engine), SimDisk::copy)
    }

    /// This machine with another disk under `dir`.
    #[must_use]
    pub fn with_disk(&self, dir: &Path, disk: SimDisk) -> Self {
        let disks = self.disks.lock();
        let others = disks.iter().map(|(dir, disk)| (dir.clone(), disk.copy()));
        let disks = others.chain([(dir.to_owned(), disk)]).collect();
        Self { disks: Arc::new(Mutex::new(disks)), ..self.clone() }
    }

    fn after(&self, engines: Engines, crash: impl Fn(&SimDisk) -> SimDisk) -> Self {
        self.transport.die();
        let disks = self.disks.lock();
        let disks = disks.iter().map(|(dir, disk)| (dir.clone(), crash(disk))).collect();
        Self {
            seed: self.seed,
            engines: Arc::new(Mutex::new(engines)),
            disks: Arc::new(Mutex::new(disks)),
            random: Arc::clone(&self.random),
            transport: self.transport.reborn(),
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

    fn open_engine(&self, dir: &Path) -> Result<Arc<MemEngine>, Fatal> {
        let mut engines = self.engines.lock();
        if let Some(engine) = engines.by_dir.get(dir) {
            return Ok(Arc::clone(engine));
        }
        let engine = if engines.by_dir.is_empty() {
            Arc::clone(&engines.first)
        } else {
            Arc::new(MemEngine::new())
        };
        engines.by_dir.insert(dir.to_owned(), Arc::clone(&engine));
        Ok(engine)
    }

    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    /// Of engines alone.
    fn subdirs(&self, dir: &Path) -> io::Result<Vec<String>> {
        let engines = self.engines.lock();
        let names = engines.by_dir.keys().filter_map(|path| path.strip_prefix(dir).ok());
        Ok(names
            .map(|name| name.display().to_string())
            .filter(|name| !name.contains('/'))
            .collect())
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.engines.lock().by_dir.remove(dir);
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    /// Small, so that short histories make many of them.
    fn snapshot_chunk_bytes(&self) -> usize {
        256
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
