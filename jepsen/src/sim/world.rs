//! The members, the network between them, and everybody who watches.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use openraft_rt::AsyncRuntime;
use openraft_rt_sim::SimRuntime;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use vetch_raft::disk::sim::SimDisk;
use vetch_raft::disk::{Disk, FileName};
use vetch_raft::log::reader::{self, Listing};
use vetch_raft::manifest::Manifest;
use vetch_raft::platform::sim::Sim;
use vetch_raft::transport::sim::SimNetwork;
use vetch_storage::{LogIndex, NodeId, Term};

use super::clock::Rate;
use super::coverage::{Coverage, Fault, Reached};
use super::life::{Life, data_dir, wal_dir};
use super::machine::{Machine, Overhear};
use super::oracle::Oracle;
use super::process::{Gone, Process, Remains, world_time};
use super::shape::Shape;
use super::trace::Trace;
use crate::harness::watchers::Sessions;
use crate::history::{Recorder, Revision};

/// A seeded world.
pub struct World {
    /// What the seed made of it.
    pub shape: Shape,
    /// The network.
    pub network: SimNetwork,
    /// The step oracles.
    pub oracle: Oracle,
    /// What happened.
    pub trace: Trace,
    /// What was come across.
    pub coverage: Coverage,
    /// What clients did.
    pub recorder: Recorder,
    /// What watchers were sent.
    pub(crate) sessions: Sessions,
    members: Mutex<BTreeMap<u64, Member>>,
    progress: Mutex<Progress>,
    /// Of every process there was.
    remains: Mutex<Vec<Remains>>,
}

/// How far the run is.
#[derive(Debug, Default)]
struct Progress {
    ended: bool,
    /// Watchers that have not been told everything yet.
    watchers: usize,
    /// What they have to be told.
    watch_until: Option<Revision>,
    compacted: Revision,
}

/// A machine, whoever runs on it.
struct Member {
    sim: Sim,
    place: Place,
    lives: u32,
    /// Something was broken on purpose that may stop this life, or keep the next from starting.
    excused: bool,
    /// A fault waits for its moment in this life.
    rigged: bool,
    /// The disk as it was before a bit of it flipped at rest.
    before_flip: Option<SimDisk>,
    wall: i64,
    random: SmallRng,
}

enum Place {
    Down,
    Booting(Process),
    Up(Arc<Life>),
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("shape", &self.shape).finish_non_exhaustive()
    }
}

/// How a process ends without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// What it wrote is with the kernel.
    Kill,
    /// What was not flushed is at chance's mercy.
    PowerCut,
}

/// Between a member's stop and the operator's restart.
const RESTART_AFTER: Duration = Duration::from_millis(700);
/// Greatest skew of a clock, in parts of a million.
const MAX_SKEW: i32 = 40_000;

impl World {
    /// A world whose members have not been started.
    pub fn new(shape: Shape) -> Arc<Self> {
        let (trace, coverage) = (Trace::default(), Coverage::default());
        let network = SimNetwork::new(shape.seed);
        let member = |id: u64| {
            let seed = shape.seed.wrapping_mul(1_000).wrapping_add(id);
            let mut random = SmallRng::seed_from_u64(seed);
            let timing = if random.random_bool(0.5) { shape.disk.0 } else { shape.disk.1 };
            let disk = |salt: u64| SimDisk::on_runtime::<SimRuntime>(seed ^ salt, timing);
            let sim = Sim::on(&network, seed)
                .with_disk(&data_dir(), disk(0xd1))
                .with_disk(&wal_dir(), disk(0xd2));
            let (place, before_flip) = (Place::Down, None);
            Member {
                sim,
                place,
                lives: 0,
                excused: false,
                rigged: false,
                before_flip,
                wall: 0,
                random,
            }
        };
        let members = (1..=shape.members).map(|id| (id, member(id))).collect();
        Arc::new(Self {
            oracle: Oracle::new(trace.clone(), coverage.clone()),
            recorder: Recorder::with_clock(world_time),
            sessions: Sessions::default(),
            members: Mutex::new(members),
            progress: Mutex::default(),
            remains: Mutex::default(),
            shape,
            network,
            trace,
            coverage,
        })
    }

    /// Ids of all members.
    pub fn ids(&self) -> Vec<u64> {
        self.members.lock().keys().copied().collect()
    }

    /// The member, if it serves.
    pub fn up(&self, id: u64) -> Option<Arc<Life>> {
        match &self.members.lock().get(&id)?.place {
            Place::Up(life) => Some(Arc::clone(life)),
            Place::Down | Place::Booting(_) => None,
        }
    }

    /// All members that serve.
    pub fn all_up(&self) -> Vec<Arc<Life>> {
        self.ids().into_iter().filter_map(|id| self.up(id)).collect()
    }

    /// Whether nothing runs on the machine.
    pub fn is_down(&self, id: u64) -> bool {
        self.with(id, |member| matches!(member.place, Place::Down))
    }

    /// The member that leads with a quorum behind it, as it says.
    pub fn leader(&self) -> Option<Arc<Life>> {
        let up = self.all_up();
        up.into_iter().find(|life| !life.process.is_paused() && life.status().is_leader)
    }

    /// The machine, for faults.
    pub fn sim(&self, id: u64) -> Sim {
        self.with(id, |member| member.sim.clone())
    }

    /// The disk under the member's log.
    pub fn wal(&self, id: u64) -> SimDisk {
        self.sim(id).disk(&wal_dir())
    }

    /// From here on a stop of this life is no surprise.
    pub fn excuse(&self, id: u64) {
        self.with(id, |member| member.excused = true);
    }

    /// Milliseconds that the member's wall clock shows; it may be set.
    pub fn wall_clock(&self, id: u64) -> i64 {
        let now = i64::try_from(world_time().as_millis()).unwrap_or(i64::MAX);
        now + self.with(id, |member| member.wall)
    }

    /// Sets the member's wall clock forward or back.
    pub fn set_wall_clock(&self, id: u64, by_ms: i64) {
        self.with(id, |member| member.wall += by_ms);
    }

    /// A fault is set up that may strike any time in this life.
    pub fn rig(&self, id: u64) {
        self.with(id, |member| member.rigged = true);
    }

    /// Whether a fault may still strike in this life.
    pub fn is_rigged(&self, id: u64) -> bool {
        self.with(id, |member| member.rigged)
    }

    /// What the member is and knows, for people.
    pub fn show(&self, id: u64) -> String {
        match self.up(id) {
            Some(life) => format!("m{id} {:?}", life.status()),
            None if self.is_down(id) => format!("m{id} is down"),
            None => format!("m{id} is starting"),
        }
    }

    fn with<T>(&self, id: u64, work: impl FnOnce(&mut Member) -> T) -> T {
        let mut members = self.members.lock();
        work(members.get_mut(&id).expect("members keep their ids"))
    }
}

/// How far the run is.
impl World {
    /// Whether clients stop now.
    pub fn has_ended(&self) -> bool {
        self.progress.lock().ended
    }

    /// Clients stop.
    pub fn end(&self) {
        self.progress.lock().ended = true;
    }

    /// The last revision that watchers wait for, once it is known.
    pub fn watched_until(&self) -> Option<Revision> {
        self.progress.lock().watch_until
    }

    /// Watchers stop when they have been told of this revision.
    pub fn watch_until(&self, last: Revision) {
        self.progress.lock().watch_until = Some(last);
    }

    /// One watcher more.
    pub fn watcher_began(&self) {
        self.progress.lock().watchers += 1;
    }

    /// One watcher has been told everything.
    pub fn watcher_ended(&self) {
        self.progress.lock().watchers -= 1;
    }

    /// Watchers that have not been told everything yet.
    pub fn watchers_left(&self) -> usize {
        self.progress.lock().watchers
    }

    /// The newest revision that the store was asked to compact.
    pub fn compacted(&self) -> Revision {
        self.progress.lock().compacted
    }

    /// The store is asked to compact.
    pub fn compacts(&self, revision: Revision) {
        let mut progress = self.progress.lock();
        progress.compacted = progress.compacted.max(revision);
    }
}

/// Lives and deaths.
impl World {
    /// Starts the member, if nothing runs on its machine; ends when it serves, or does not.
    pub async fn boot(self: &Arc<Self>, id: u64) {
        let overhear: Arc<dyn Overhear> = Arc::new(self.oracle.clone());
        let (machine, number) = {
            let mut members = self.members.lock();
            let member = members.get_mut(&id).expect("members keep their ids");
            if !matches!(member.place, Place::Down) {
                return;
            }
            let rate = self.rate(&mut member.random);
            member.lives += 1;
            let process = Process::new(format!("m{id}.{}", member.lives), rate);
            self.remains.lock().push(process.remains());
            member.place = Place::Booting(process.clone());
            let sim = member.sim.clone();
            let log = self.shape.log;
            let machine = Machine { sim, process, overhear, log };
            (machine, member.lives)
        };
        let rate = machine.process.rate();
        self.trace.note(format_args!("m{id} starts, life {number}, clock {rate:?}"));
        self.look_at_log(id, &machine.sim);
        let process = machine.process.clone();
        match Life::begin(id, machine, &self.shape, self.oracle.clone()).await {
            Err(Gone) => {}
            Ok(Ok(life)) => self.serves(Arc::new(life), number),
            Ok(Err(error)) => {
                self.trace.note(format_args!("m{id} does not start: {error}"));
                self.refused(id, &process, &error.to_string());
            }
        }
    }

    fn rate(&self, random: &mut SmallRng) -> Rate {
        if !self.shape.knows(Fault::ClockSkew) {
            return Rate::TRUE;
        }
        self.coverage.inject(Fault::ClockSkew);
        Rate::skewed(random.random_range(-MAX_SKEW..=MAX_SKEW))
    }

    /// Holds the log on disk against what the member has promised.
    fn look_at_log(&self, id: u64, sim: &Sim) {
        match reader::list(&sim.disk(&wal_dir())) {
            Ok(found) => {
                let leftover = found.as_ref().is_some_and(|log| log.leftover > 0);
                self.coverage.add(Reached::TornTail, u64::from(leftover));
                let purged = found.as_ref().is_some_and(|log| log.purged.is_some());
                self.coverage.add(Reached::Purged, u64::from(purged));
                self.trace.mix(found.as_ref().map(|log| (log.entries.len(), log.leftover)));
                self.oracle.log_found(NodeId(id), found.as_ref(), installed(sim));
            }
            Err(error) => self.trace.note(format_args!("m{id}'s log cannot be read: {error}")),
        }
    }

    fn serves(self: &Arc<Self>, life: Arc<Life>, number: u32) {
        let id = life.id;
        {
            let mut members = self.members.lock();
            let member = members.get_mut(&id).expect("members keep their ids");
            if life.process.is_dead() {
                return;
            }
            member.place = Place::Up(Arc::clone(&life));
            member.before_flip = None;
        }
        self.trace.note(format_args!("m{id} serves, applied {}", life.status().applied));
        let world = Arc::clone(self);
        drop(SimRuntime::spawn(async move {
            let replica = life.replica.clone();
            let fatal = life.process.enter(async move { replica.fatal().await }).await;
            let Ok(fatal) = fatal else { return };
            world.trace.note(format_args!("m{id} stops by itself in life {number}: {fatal}"));
            world.stopped(id, &life, &fatal.to_string()).await;
        }));
    }

    /// A member did not start: its operator restores what was damaged, and tries again.
    fn refused(self: &Arc<Self>, id: u64, process: &Process, why: &str) {
        process.kill();
        let flipped = self.with(id, |member| {
            let flipped = member.before_flip.take();
            if let Some(disk) = &flipped {
                member.sim = member.sim.with_disk(&wal_dir(), disk.copy());
            } else if !member.excused {
                self.oracle.violated(format!("m{id} does not start: {why}"));
            }
            member.sim = member.sim.process_killed();
            member.place = Place::Down;
            (member.excused, member.rigged) = (false, false);
            flipped.is_some()
        });
        let reached = if flipped { Reached::Refused } else { Reached::FatalStop };
        self.coverage.reach(reached);
        self.start_later(id);
    }

    /// A member stopped by itself: as a node does, it ends in order as far as it can.
    async fn stopped(self: &Arc<Self>, id: u64, life: &Arc<Life>, why: &str) {
        self.coverage.reach(Reached::FatalStop);
        if !self.with(id, |member| member.excused) {
            self.oracle.violated(format!("m{id} stops by itself: {why}"));
        }
        self.shut_down(life).await;
        if self.end_of(id, life, Death::Kill) {
            self.start_later(id);
        }
    }

    fn start_later(self: &Arc<Self>, id: u64) {
        let world = Arc::clone(self);
        drop(SimRuntime::spawn(async move {
            SimRuntime::sleep(RESTART_AFTER).await;
            world.boot(id).await;
        }));
    }

    /// Ends the member as its operator would.
    pub async fn shut_down(&self, life: &Arc<Life>) {
        life.process.run(|| life.stop.cancel());
        let replica = life.replica.clone();
        let ended = life.process.enter(async move { replica.shutdown().await });
        // One whose disk hangs is killed in the end.
        let _in_time = SimRuntime::timeout(Duration::from_secs(10), ended).await;
    }

    /// The process of this very life ends; `false` when it had ended before.
    pub fn end_of(&self, id: u64, life: &Arc<Life>, death: Death) -> bool {
        let current = self.up(id).is_some_and(|up| Arc::ptr_eq(&up, life));
        current && self.die(id, death)
    }

    /// Whatever runs on the machine ends now; `false` when nothing did.
    pub fn die(&self, id: u64, death: Death) -> bool {
        let place = self.with(id, |member| std::mem::replace(&mut member.place, Place::Down));
        let process = match place {
            Place::Down => return false,
            Place::Booting(process) => process,
            Place::Up(life) => {
                let leads = !life.process.is_paused() && life.status().is_leader;
                self.coverage.add(Reached::LeaderDied, u64::from(leads));
                life.process.clone()
            }
        };
        for panic in process.panics() {
            self.oracle.violated(format!("m{id} panicked: {panic}"));
        }
        self.with(id, |member| {
            let before = end_of_log(&member.sim);
            member.sim = match death {
                Death::Kill => member.sim.process_killed(),
                Death::PowerCut => member.sim.power_cut(member.random.random()),
            };
            let lost = end_of_log(&member.sim) < before;
            self.coverage.add(Reached::LostTail, u64::from(lost));
            (member.excused, member.rigged) = (false, false);
        });
        process.kill();
        true
    }

    /// Flips a bit of the log of a member that is down.
    pub fn flip_bit(&self, id: u64) -> Option<String> {
        self.with(id, |member| {
            if !matches!(member.place, Place::Down) || member.before_flip.is_some() {
                return None;
            }
            let disk = member.sim.disk(&wal_dir());
            let files = disk.list().ok()?;
            let file = files.get(member.random.random_range(0..files.len().max(1)))?;
            let len = usize::try_from(file.len).ok()?;
            let bytes = disk.read(&file.name, 0, len).ok()?;
            let written = bytes.iter().rposition(|byte| *byte != 0)? + 1;
            let at = member.random.random_range(0..written) as u64;
            let mask = 1 << member.random.random_range(0..8);
            member.before_flip = Some(disk.copy());
            disk.flip(&file.name, at, mask);
            Some(format!("{} at {at}", file.name))
        })
    }

    /// What is left of each life there was.
    pub(super) fn remains(&self) -> Vec<Remains> {
        self.remains.lock().clone()
    }

    /// Panics of the processes that still run.
    pub fn look_for_panics(&self) {
        for life in self.all_up() {
            for panic in life.process.panics() {
                self.oracle.violated(format!("m{} panicked: {panic}", life.id));
            }
        }
    }

    /// A member says that it leads.
    pub fn leads(&self, id: u64, term: Term) {
        self.oracle.leads(NodeId(id), term);
    }
}

fn end_of_log(sim: &Sim) -> Option<u64> {
    let found: Option<Listing> = reader::list(&sim.disk(&wal_dir())).ok().flatten();
    found.and_then(|log| log.last).map(|last| last.index)
}

/// Up to where the state reaches that a member last got from a peer and put in use.
fn installed(sim: &Sim) -> LogIndex {
    let (home, name) = (sim.disk(&data_dir()), FileName::new("MANIFEST"));
    let files = home.list().unwrap_or_default();
    let len = files.iter().find(|file| file.name == name).map_or(0, |file| file.len);
    let bytes = home.read(&name, 0, usize::try_from(len).unwrap_or(0)).unwrap_or_default();
    let manifest = Manifest::decode(&home.path(&name), &bytes);
    manifest.map_or(LogIndex(0), |manifest| manifest.state.installed)
}
