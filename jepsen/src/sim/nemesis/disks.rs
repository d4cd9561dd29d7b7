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
        let wal = self.world.wal(id);
        let at = wal.steps() + self.random.random_range(0..8);
        if fault == Fault::DiskStall {
            let extra = self.some_time(4_000);
            wal.inject(DiskFault::Stall { at, extra });
            self.injected(fault, format_args!("m{id}'s disk stalls for {extra:?} at step {at}"));
            return;
        }
        self.world.excuse(id);
        let full = fault == Fault::DiskFull;
        wal.inject(if full { DiskFault::NoSpace { at } } else { DiskFault::Io { at } });
        self.injected(fault, format_args!("{fault} of m{id} at step {at}"));
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
