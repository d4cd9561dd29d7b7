//! Lives and deaths.

use std::sync::Arc;
use std::time::Duration;

use openraft_rt::AsyncRuntime;
use openraft_rt_sim::SimRuntime;
use rand::Rng;
use rand::rngs::SmallRng;
use vetch_raft::{OpenError, StopReason};
use vetch_storage::Fatal;

use super::damage::end_of_log;
use super::group::Disks;
use super::{Death, Place, World};
use crate::sim::clock::Rate;
use crate::sim::coverage::{Fault, Reached};
use crate::sim::life::Life;
use crate::sim::machine::{Machine, Overhear};
use crate::sim::process::{Gone, Process};

/// Between a member's stop and the operator's restart.
const RESTART_AFTER: Duration = Duration::from_millis(700);
/// Greatest skew of a clock, in parts of a million.
const MAX_SKEW: i32 = 40_000;

impl World {
    /// Starts the member, if nothing runs on its machine; ends when it runs, or does not.
    pub async fn boot(self: &Arc<Self>, id: u64) {
        let overhear: Arc<dyn Overhear> = Arc::new(self.oracle.clone());
        let (machine, number, origin) = {
            let mut members = self.members.lock();
            let member = members.get_mut(&id).expect("machines are never taken away");
            if !matches!(member.place, Place::Down) || member.disks == Disks::Lost {
                return;
            }
            let rate = self.rate(&mut member.random);
            member.lives += 1;
            member.rots = !member.decayed.is_empty();
            let process = Process::new(format!("m{id}.{}", member.lives), rate);
            self.remains.lock().push(process.remains());
            member.place = Place::Booting(process.clone());
            let sim = member.sim.clone();
            let log = self.shape.log;
            let machine = Machine { sim, process, overhear, log };
            (machine, member.lives, member.origin.clone())
        };
        let rate = machine.process.rate();
        self.trace.note(format_args!("m{id} starts, life {number}, clock {rate:?}"));
        self.look_at_log(id, &machine.sim);
        let process = machine.process.clone();
        match Life::begin(id, machine, &self.shape, &origin, self.oracle.clone()).await {
            Err(Gone) => {}
            Ok(Ok(life)) => self.runs(Arc::new(life), number),
            Ok(Err(error)) => {
                self.trace.note(format_args!("m{id} does not start: {error}"));
                self.refused(id, &process, &error);
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

    fn runs(self: &Arc<Self>, life: Arc<Life>, number: u32) {
        let id = life.id;
        {
            let mut members = self.members.lock();
            let member = members.get_mut(&id).expect("machines are never taken away");
            if life.process.is_dead() {
                return;
            }
            member.place = Place::Up(Arc::clone(&life));
            member.before_flip = None;
        }
        self.trace.note(format_args!("m{id} runs, applied {}", life.status().applied));
        let (world, served) = (Arc::clone(self), Arc::clone(&life));
        drop(SimRuntime::spawn(async move {
            let replica = served.replica.clone();
            if served.process.enter(async move { replica.published().await }).await.is_ok() {
                served.serve_clients();
                world.trace.note(format_args!("m{id} serves clients"));
            }
        }));
        let world = Arc::clone(self);
        drop(SimRuntime::spawn(async move {
            let Ok(reason) = life.failed().await else { return };
            world.trace.note(format_args!("m{id} stops by itself in life {number}: {reason}"));
            world.stopped(id, &life, &reason).await;
        }));
    }

    /// A member did not start: its operator restores what was damaged, and tries again.
    fn refused(self: &Arc<Self>, id: u64, process: &Process, why: &OpenError) {
        process.kill();
        let told = matches!(why, OpenError::Removed) && self.may_be_removed(id);
        let rotten = self.restore(id) && matches!(why, OpenError::Fatal(Fatal::Corrupt { .. }));
        let flipped = self.with(id, |member| {
            let flipped = member.before_flip.take();
            if let Some((dir, disk)) = &flipped {
                member.sim = member.sim.with_disk(dir, disk.copy());
            } else if !rotten && !member.excused && !told {
                self.oracle.violated(format!("m{id} does not start: {why}"));
            }
            member.sim = member.sim.process_killed();
            member.place = Place::Down;
            (member.excused, member.rigged) = (false, false);
            flipped.is_some() || rotten
        });
        if told {
            self.coverage.reach(Reached::RemovedStopped);
            return;
        }
        let reached = if flipped { Reached::Refused } else { Reached::FatalStop };
        self.coverage.reach(reached);
        self.start_later(id);
    }

    /// A member stopped by itself: as a node does, it ends in order as far as it can.
    async fn stopped(self: &Arc<Self>, id: u64, life: &Arc<Life>, why: &StopReason) {
        let expected = match why {
            StopReason::Removed if self.may_be_removed(id) => Some(Reached::RemovedStopped),
            StopReason::Failed(fatal) if self.is_wiped(id) => {
                fatal.to_string().contains("wiped").then_some(Reached::WipedRefused)
            }
            StopReason::Failed(_) | StopReason::Removed | StopReason::Diverged { .. } => None,
        };
        let found = matches!(why, StopReason::Failed(Fatal::Corrupt { .. }))
            && self.with(id, |member| member.rots);
        let expected = expected.filter(|_| !found);
        let reached = if found { Reached::FoundAtRest } else { Reached::FatalStop };
        self.coverage.reach(expected.unwrap_or(reached));
        // No fault of this world is an excuse for another state.
        let diverged = matches!(why, StopReason::Diverged { .. });
        if diverged {
            self.oracle.violated(format!("m{id} finds that it has diverged: {why}"));
        } else if expected.is_none() && !found && !self.with(id, |member| member.excused) {
            self.oracle.violated(format!("m{id} stops by itself: {why}"));
        }
        self.shut_down(life).await;
        self.restore(id);
        if self.end_of(id, life, Death::Kill) && expected.is_none() && !diverged {
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
        self.goes_on(id);
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
}
