//! The members, the network between them, and everybody who watches.
//!
//! - `lives`: members start, stop, die. `damage`: what becomes of their disks
//! - `group`: who belongs to the group, as its operator knows it
//! - `progress`: how far the run is

mod damage;
mod group;
mod lives;
mod progress;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use vetch_raft::disk::sim::SimDisk;
use vetch_raft::platform::sim::Sim;
use vetch_raft::transport::sim::SimNetwork;
use vetch_storage::engine::mem::Decayed;
use vetch_storage::{NodeId, Term};

use self::group::{Disks, Standing};
use self::progress::Progress;
use super::coverage::Coverage;
use super::life::{Life, Origin, data_dir, wal_dir};
use super::oracle::Oracle;
use super::process::{Process, Remains, world_time};
use super::shape::Shape;
use super::trace::Trace;
use crate::harness::watchers::Sessions;
use crate::history::Recorder;

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

/// A machine, whoever runs on it.
struct Member {
    sim: Sim,
    place: Place,
    origin: Origin,
    standing: Standing,
    disks: Disks,
    lives: u32,
    /// Something was broken on purpose that may stop this life, or keep the next from starting.
    excused: bool,
    /// A fault waits for its moment in this life.
    rigged: bool,
    /// A disk as it was before a bit of it flipped at rest, and where it is.
    before_flip: Option<(PathBuf, SimDisk)>,
    /// What has flipped in the engine at rest, and may still be there.
    decayed: Vec<Decayed>,
    /// Something of it was there in this life.
    rots: bool,
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

impl World {
    /// A world whose members have not been started.
    pub fn new(shape: Shape) -> Arc<Self> {
        let (trace, coverage) = (Trace::default(), Coverage::default());
        let network = SimNetwork::new(shape.seed);
        let world = Self {
            oracle: Oracle::new(trace.clone(), coverage.clone()),
            recorder: Recorder::with_clock(world_time),
            sessions: Sessions::default(),
            members: Mutex::default(),
            progress: Mutex::default(),
            remains: Mutex::default(),
            shape,
            network,
            trace,
            coverage,
        };
        for id in 1..=world.shape.members {
            let founder = world.new_member(id, Origin::Founder);
            world.members.lock().insert(id, founder);
        }
        Arc::new(world)
    }

    fn new_member(&self, id: u64, origin: Origin) -> Member {
        let seed = self.shape.seed.wrapping_mul(1_000).wrapping_add(id);
        let mut random = SmallRng::seed_from_u64(seed);
        let sim = self.new_machine(seed, &mut random);
        Member {
            sim,
            place: Place::Down,
            origin,
            standing: Standing::Member,
            disks: Disks::Kept,
            lives: 0,
            excused: false,
            rigged: false,
            before_flip: None,
            decayed: Vec::new(),
            rots: false,
            wall: 0,
            random,
        }
    }

    /// The member, if it runs.
    pub fn up(&self, id: u64) -> Option<Arc<Life>> {
        match &self.members.lock().get(&id)?.place {
            Place::Up(life) => Some(Arc::clone(life)),
            Place::Down | Place::Booting(_) => None,
        }
    }

    /// All members of the group that run.
    pub fn all_up(&self) -> Vec<Arc<Life>> {
        self.ids().into_iter().filter_map(|id| self.up(id)).collect()
    }

    /// The member, if clients are served there: as of a node, from when the group knows its name.
    pub fn serving(&self, id: u64) -> Option<Arc<Life>> {
        self.up(id).filter(|life| life.serves_clients())
    }

    /// All members of the group that serve clients.
    pub fn all_serving(&self) -> Vec<Arc<Life>> {
        self.ids().into_iter().filter_map(|id| self.serving(id)).collect()
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

    /// The disk under what else the member has in its directory.
    pub fn home(&self, id: u64) -> SimDisk {
        self.sim(id).disk(&data_dir())
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

    /// A member says that it leads.
    pub fn leads(&self, id: u64, term: Term) {
        self.oracle.leads(NodeId(id), term);
    }

    /// What is left of each life there was.
    pub(super) fn remains(&self) -> Vec<Remains> {
        self.remains.lock().clone()
    }

    /// Panics of the processes that still run.
    pub fn look_for_panics(&self) {
        for life in self.machines().into_iter().filter_map(|id| self.up(id)) {
            for panic in life.process.panics() {
                self.oracle.violated(format!("m{} panicked: {panic}", life.id));
            }
        }
    }

    fn with<T>(&self, id: u64, work: impl FnOnce(&mut Member) -> T) -> T {
        let mut members = self.members.lock();
        work(members.get_mut(&id).expect("machines are never taken away"))
    }
}
