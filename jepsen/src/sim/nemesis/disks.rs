//! What happens to disks and engines.

use rand::Rng;
use vetch_raft::disk::sim::Fault as DiskFault;
use vetch_storage::engine::mem::Fault as EngineFault;

use super::{Nemesis, after};
use crate::sim::coverage::Fault;
use crate::sim::world::Death;

impl Nemesis {
    pub(super) fn disk(&mut self, fault: Fault, id: u64) {
        if self.world.up(id).is_none() {
            return;
        }
        self.world.rig(id);
        // Mostly under the log; little is written beside it.
        let home = self.random.random_ratio(1, 5);
        let disk = if home { self.world.home(id) } else { self.world.wal(id) };
        let of = if home { "directory" } else { "log" };
        let at = disk.steps() + self.random.random_range(0..if home { 3 } else { 8 });
        if fault == Fault::DiskStall {
            let extra = self.some_time(4_000);
            disk.inject(DiskFault::Stall { at, extra });
            let what = format_args!("the disk of m{id}'s {of} stalls for {extra:?} at step {at}");
            self.injected(fault, what);
            return;
        }
        self.world.excuse(id);
        let full = fault == Fault::DiskFull;
        disk.inject(if full { DiskFault::NoSpace { at } } else { DiskFault::Io { at } });
        self.injected(fault, format_args!("{fault} of m{id}'s {of} at step {at}"));
    }

    pub(super) fn bit_flip(&mut self, id: u64) {
        if !self.world.is_down(id) && !self.world.die(id, Death::PowerCut) {
            return;
        }
        if let Some(place) = self.world.flip_bit(id) {
            self.injected(Fault::BitFlip, format_args!("a bit of m{id} flips in {place}"));
        }
        self.boot_later(id);
    }

    /// A few, so that a read comes across one.
    pub(super) fn decay(&mut self, id: u64) {
        if self.world.up(id).is_none() {
            return;
        }
        for _ in 0..4 {
            if let Some(place) = self.world.decay(id, self.random.random()) {
                self.injected(
                    Fault::Decay,
                    format_args!("a bit of m{id}'s engine flips in {place}"),
                );
            }
        }
    }

    pub(super) fn engine(&mut self, fault: Fault, id: u64) {
        if self.world.up(id).is_none() {
            return;
        }
        self.world.rig(id);
        self.world.excuse(id);
        let engine = self.world.sim(id).engine();
        let nth = self.random.random_range(1..10);
        let kind = if self.random.random() { EngineFault::Io } else { EngineFault::NoSpace };
        if fault == Fault::EngineError {
            engine.fail_apply(nth, kind);
        } else {
            engine.fail_persist(nth.min(2), kind);
        }
        self.injected(fault, format_args!("{fault} of m{id}, {kind:?} at the {nth}th"));
    }

    pub(super) fn congestion(&mut self, id: u64) {
        let long = self.some_time(2_000);
        let engine = self.world.sim(id).engine();
        engine.set_congested(true);
        self.injected(Fault::Congestion, format_args!("m{id}'s engine lags for {long:?}"));
        after(long, async move { engine.set_congested(false) });
    }
}
