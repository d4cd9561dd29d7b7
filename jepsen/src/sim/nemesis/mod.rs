//! Injects one fault after another, as the seed has it.

mod disks;

use std::sync::Arc;
use std::time::Duration;

use openraft_rt::AsyncRuntime;
use openraft_rt_sim::SimRuntime;
use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use vetch_raft::disk::sim::Fault as DiskFault;
use vetch_raft::transport::sim::Weather;
use vetch_storage::NodeId;

use super::coverage::{Fault, Reached};
use super::operator::Plan;
use super::process::world_time;
use super::world::{Death, World};

/// What a network that still works may be like.
const STORM: Weather = Weather {
    delay: (Duration::from_micros(50), Duration::from_millis(60)),
    lost: 40,
    doubled: 100,
};

/// Injects faults until the world's storm is over.
pub(super) async fn run(world: Arc<World>) {
    let mut nemesis = Nemesis::new(&world);
    while world_time() < world.shape.storm {
        let gap = nemesis.random.random_range(Duration::ZERO..=world.shape.fault_gap);
        SimRuntime::sleep(gap).await;
        nemesis.step();
    }
}

struct Nemesis {
    world: Arc<World>,
    random: SmallRng,
    faults: Vec<Fault>,
}

impl Nemesis {
    fn new(world: &Arc<World>) -> Self {
        let seed = world.shape.seed ^ 0xde_ad_11;
        // A clock's rate is given with a life.
        let faults = world.shape.faults.iter().copied().filter(|fault| *fault != Fault::ClockSkew);
        Self {
            world: Arc::clone(world),
            random: SmallRng::seed_from_u64(seed),
            faults: faults.collect(),
        }
    }

    fn step(&mut self) {
        // Every third step, roughly, mends the network: cuts that pile up leave nothing to see.
        if self.random.random_ratio(1, 3) {
            self.mend();
            return;
        }
        let Some(fault) = self.faults.choose(&mut self.random).copied() else { return };
        let ids = self.world.ids();
        let Some(id) = self.victim(&ids) else { return };
        match fault {
            Fault::Storm => self.storm(),
            Fault::BadChunks => self.bad_chunks(),
            Fault::Isolation | Fault::Partition => self.part(fault, id, &ids),
            Fault::OneWayCut | Fault::PairCut => self.cut(fault, id, &ids),
            Fault::Kill | Fault::PowerCut => self.death(fault, id),
            Fault::TornWrite => self.torn_write(id),
            Fault::Pause => {
                let long = self.some_time(6_000);
                self.pause(fault, id, long);
            }
            Fault::LeaderPause => self.leader_pause(),
            Fault::Restart => self.restart(id),
            Fault::DiskError | Fault::DiskFull | Fault::DiskStall => self.disk(fault, id),
            Fault::BitFlip => self.bit_flip(id),
            Fault::EngineError | Fault::CheckpointError => self.engine(fault, id),
            Fault::Decay => self.decay(id),
            Fault::Congestion => self.congestion(id),
            Fault::WallJump => self.wall_jump(id),
            Fault::Transfer => self.transfer(&ids),
            Fault::Growth => self.operate(fault, Plan::Grow { learner: false }),
            Fault::Learner => self.operate(fault, Plan::Grow { learner: true }),
            Fault::Removal => self.operate(fault, Plan::Remove(id)),
            Fault::Replacement => self.operate(fault, Plan::Replace(id)),
            Fault::Wipe => self.operate(fault, Plan::ReplaceWiped(id)),
            Fault::Move => self.operate(fault, Plan::Relocate(id)),
            Fault::ClockSkew => {}
        }
    }

    /// The leader more often than chance would have it.
    fn victim(&mut self, ids: &[u64]) -> Option<u64> {
        let leader = self.world.leader().map(|life| life.id);
        let leader = leader.filter(|_| self.random.random_ratio(1, 3));
        leader.or_else(|| ids.choose(&mut self.random).copied())
    }

    /// Has an operator do something, unless all are at something else, or one at what collides with it.
    fn operate(&mut self, fault: Fault, plan: Plan) {
        if plan.is_possible(&self.world) {
            self.injected(fault, format_args!("{plan:?}"));
            let seed = self.random.random();
            after(Duration::ZERO, plan.begin(&self.world, seed));
        }
    }

    fn injected(&self, fault: Fault, what: std::fmt::Arguments<'_>) {
        self.world.coverage.inject(fault);
        self.world.trace.note(format_args!("fault: {what}"));
    }

    fn some_time(&mut self, most_ms: u64) -> Duration {
        Duration::from_millis(self.random.random_range(20..=most_ms))
    }
}

fn after(delay: Duration, then: impl Future<Output = ()> + Send + 'static) {
    drop(SimRuntime::spawn(async move {
        SimRuntime::sleep(delay).await;
        then.await;
    }));
}

/// The network.
impl Nemesis {
    fn mend(&mut self) {
        self.world.network.heal();
        self.world.network.set_weather(Weather::default());
        self.world.network.damage_chunks(0);
        self.world.trace.note("the network is mended");
    }

    fn storm(&self) {
        self.world.network.set_weather(STORM);
        self.injected(Fault::Storm, format_args!("bad weather"));
    }

    fn bad_chunks(&mut self) {
        let of_a_thousand = self.random.random_range(20..300);
        self.world.network.damage_chunks(of_a_thousand);
        self.injected(Fault::BadChunks, format_args!("of 1000 chunks {of_a_thousand} are damaged"));
    }

    fn cut(&mut self, fault: Fault, id: u64, ids: &[u64]) {
        let others: Vec<u64> = ids.iter().copied().filter(|other| *other != id).collect();
        let Some(other) = others.choose(&mut self.random).copied() else { return };
        let (from, to) = if self.random.random() { (id, other) } else { (other, id) };
        self.world.network.cut(NodeId(from), NodeId(to));
        if fault == Fault::PairCut {
            self.world.network.cut(NodeId(to), NodeId(from));
            self.injected(fault, format_args!("m{from} and m{to} are cut apart"));
        } else {
            self.injected(fault, format_args!("nothing goes from m{from} to m{to}"));
        }
    }

    /// Cuts a member, or several, off from the others.
    fn part(&mut self, fault: Fault, id: u64, ids: &[u64]) {
        let mut rest: Vec<u64> = ids.iter().copied().filter(|other| *other != id).collect();
        if rest.is_empty() {
            return;
        }
        rest.shuffle(&mut self.random);
        let with = if fault == Fault::Partition { rest.len() } else { 1 };
        let outside = rest.split_off(self.random.random_range(0..with));
        let inside: Vec<u64> = rest.into_iter().chain([id]).collect();
        for (one, other) in inside.iter().flat_map(|one| outside.iter().map(move |o| (*one, *o))) {
            self.world.network.cut(NodeId(one), NodeId(other));
            self.world.network.cut(NodeId(other), NodeId(one));
        }
        self.injected(fault, format_args!("{inside:?} is cut off from the others"));
    }

    fn transfer(&mut self, ids: &[u64]) {
        let Some(leader) = self.world.leader() else { return };
        let Some(target) = ids.choose(&mut self.random).copied() else { return };
        if target == leader.id {
            return;
        }
        self.injected(Fault::Transfer, format_args!("m{} shall hand over to m{target}", leader.id));
        let world = Arc::clone(&self.world);
        after(Duration::ZERO, async move {
            let replica = leader.replica.clone();
            let handed = leader
                .process
                .enter(async move { replica.transfer_leadership(NodeId(target)).await });
            let handed = handed.await;
            if let Ok(Ok(())) = handed {
                world.coverage.reach(Reached::Transferred);
            }
            world.trace.note(format_args!("hand-over to m{target}: {handed:?}"));
        });
    }
}

/// Processes.
impl Nemesis {
    fn death(&mut self, fault: Fault, id: u64) {
        let death = if fault == Fault::Kill { Death::Kill } else { Death::PowerCut };
        if self.world.die(id, death) {
            self.injected(fault, format_args!("{fault} of m{id}"));
            self.boot_later(id);
        }
    }

    fn boot_later(&mut self, id: u64) {
        let (world, delay) = (Arc::clone(&self.world), self.some_time(3_000));
        after(delay, async move { world.boot(id).await });
    }

    fn torn_write(&mut self, id: u64) {
        if self.world.is_down(id) {
            return;
        }
        self.world.rig(id);
        let wal = self.world.wal(id);
        let at = wal.steps() + self.random.random_range(0..6);
        wal.inject(DiskFault::PowerCut { at });
        self.injected(Fault::TornWrite, format_args!("power cut of m{id} at disk step {at}"));
        let (world, delay) = (Arc::clone(&self.world), self.some_time(3_000));
        after(Duration::ZERO, async move {
            while !wal.is_dark() && !world.has_ended() {
                SimRuntime::sleep(Duration::from_micros(500)).await;
            }
            // The machine may have died otherwise meanwhile, and this disk with it.
            if wal.is_dark() && world.die(id, Death::PowerCut) {
                world.trace.note(format_args!("the power of m{id} went out in a write"));
            }
            SimRuntime::sleep(delay).await;
            world.boot(id).await;
        });
    }

    fn pause(&self, fault: Fault, id: u64, long: Duration) {
        let Some(life) = self.world.up(id) else { return };
        if self.world.leader().is_some_and(|leader| leader.id == id) {
            self.world.leader_stands_still(id);
        }
        life.process.pause();
        self.injected(fault, format_args!("m{id} stands still for {long:?}"));
        let world = Arc::clone(&self.world);
        after(long, async move {
            world.goes_on(id);
            life.process.resume();
            world.trace.note(format_args!("m{id} goes on"));
        });
    }

    /// Long enough that another leads and renews leases whose time is over by the old leader's clock.
    fn leader_pause(&mut self) {
        let Some(leader) = self.world.leader() else { return };
        let long = Duration::from_millis(self.random.random_range(3_500..8_000));
        self.pause(Fault::LeaderPause, leader.id, long);
    }

    fn restart(&mut self, id: u64) {
        let Some(life) = self.world.up(id) else { return };
        self.injected(Fault::Restart, format_args!("m{id} is stopped in order"));
        let world = Arc::clone(&self.world);
        after(Duration::ZERO, async move {
            world.shut_down(&life).await;
            if world.end_of(id, &life, Death::Kill) {
                world.boot(id).await;
            }
        });
    }

    fn wall_jump(&mut self, id: u64) {
        let by = self.random.random_range(-100_000_000..100_000_000);
        self.world.set_wall_clock(id, by);
        self.injected(Fault::WallJump, format_args!("m{id}'s wall clock is set by {by} ms"));
    }
}
