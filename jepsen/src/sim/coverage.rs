//! Which faults were injected, and which rare states a run reached.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

macro_rules! kinds {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident => $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Self::$variant => $text,)+ })
            }
        }
    };
}

kinds! {
    /// What the world does to its members.
    Fault {
        /// Messages are lost, delayed, reordered and doubled.
        Storm => "storm",
        /// One member hears nobody and is heard by nobody.
        Isolation => "isolation",
        /// The members fall into two groups.
        Partition => "partition",
        /// One direction between two members.
        OneWayCut => "one-way cut",
        /// Both directions between two members.
        PairCut => "pair cut",
        /// Chunks of whole states arrive with a bit that is not as it was sent.
        BadChunks => "damaged chunks",
        /// The process is killed; what it wrote is with the kernel.
        Kill => "kill",
        /// The machine's power goes out.
        PowerCut => "power cut",
        /// The power goes out in the middle of a disk operation.
        TornWrite => "power cut in a write",
        /// The process stands still for a while.
        Pause => "pause",
        /// The leader stands still for longer than leases live, while the others go on.
        LeaderPause => "leader paused past leases",
        /// The process is stopped in order and started again.
        Restart => "restart",
        /// A log write or flush fails.
        DiskError => "disk error",
        /// The log's disk is full.
        DiskFull => "disk full",
        /// The disk takes long.
        DiskStall => "disk stall",
        /// A bit of a member that is down flips on its disk.
        BitFlip => "bit flip",
        /// Bits of what a member's engine holds flip while it runs.
        Decay => "engine bit flip",
        /// A write of the engine fails.
        EngineError => "engine error",
        /// A checkpoint of the engine fails.
        CheckpointError => "checkpoint error",
        /// The engine lags behind.
        Congestion => "engine congestion",
        /// A member's clock is too fast or too slow.
        ClockSkew => "clock skew",
        /// A member's wall clock is set.
        WallJump => "wall clock jump",
        /// Leadership is handed over on request.
        Transfer => "leader transfer",
        /// A voter is added.
        Growth => "voter added",
        /// A learner is added, and promoted later.
        Learner => "learner added",
        /// A member is removed.
        Removal => "member removed",
        /// A member's machine is given up, and another takes its place.
        Replacement => "member replaced",
        /// A member's disks are lost for good.
        Wipe => "disks lost",
        /// A member gets other peer URLs.
        Move => "member moved",
    }
}

kinds! {
    /// What a long run must have come across to show anything.
    Reached {
        /// A member began to lead.
        Election => "elections",
        /// A leader handed over.
        Transferred => "leadership handed over",
        /// A member died while it led.
        LeaderDied => "leaders died",
        /// A member stopped by itself, with a reason.
        FatalStop => "fatal stops",
        /// A member refused to start on a damaged disk.
        Refused => "damaged disks refused",
        /// A read found what had flipped at rest, and the member stopped.
        FoundAtRest => "damage found by reads",
        /// A new member came to vote.
        Grown => "new members vote",
        /// A learner was promoted.
        Promoted => "learners promoted",
        /// A removed member was told, and stopped.
        RemovedStopped => "removed members stopped",
        /// A member that came back without its disks was told, and stopped.
        WipedRefused => "wiped members refused",
        /// A member that was lost was replaced.
        Replaced => "lost members replaced",
        /// A crash left a torn end, and it was cut off.
        TornTail => "torn log ends cut",
        /// A crash lost entries that were not flushed.
        LostTail => "unflushed entries lost",
        /// A log was purged behind a checkpoint.
        Purged => "logs purged",
        /// A member was given the whole state.
        Installed => "whole states installed",
        /// A follower dropped entries of a deposed leader.
        Truncated => "log conflicts resolved",
        /// Writes were acknowledged.
        Acknowledged => "writes acknowledged",
        /// The client does not know what became of a write.
        Unknown => "writes of unknown outcome",
        /// A write went by way of a follower.
        Forwarded => "writes by way of a follower",
        /// A compare of a transaction failed.
        Conflict => "compares failed",
        /// Leases ran out.
        Expired => "leases expired",
        /// Leases were renewed.
        Renewed => "leases renewed",
        /// A lease was renewed by a new leader while an old one, which keeps an older deadline, stood still.
        RenewedBehind => "leases renewed behind a leader",
        /// The remaining time of a lease was recorded.
        LeaseCheckpoint => "leases checkpointed",
        /// History was compacted.
        Compacted => "compactions",
        /// A watch was resumed after its member or connection had gone.
        Resumed => "watches resumed",
        /// A watch was told that its history is compacted.
        WatchCompacted => "watches ended by compaction",
        /// Events came to watchers.
        Event => "events delivered",
    }
}

/// Counts of one run or of many. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Coverage(Arc<Mutex<Counts>>);

#[derive(Clone, Debug, Default)]
struct Counts {
    faults: BTreeMap<Fault, u64>,
    reached: BTreeMap<Reached, u64>,
}

impl Coverage {
    /// A fault was injected.
    pub fn inject(&self, fault: Fault) {
        *self.0.lock().faults.entry(fault).or_default() += 1;
    }

    /// A state was reached.
    pub fn reach(&self, reached: Reached) {
        self.add(reached, 1);
    }

    /// A state was reached so many times.
    pub fn add(&self, reached: Reached, times: u64) {
        *self.0.lock().reached.entry(reached).or_default() += times;
    }

    /// Times a state was reached.
    pub fn times(&self, reached: Reached) -> u64 {
        self.0.lock().reached.get(&reached).copied().unwrap_or(0)
    }

    /// Times a fault was injected.
    pub fn injected(&self, fault: Fault) -> u64 {
        self.0.lock().faults.get(&fault).copied().unwrap_or(0)
    }

    /// Adds what another run came across.
    pub fn merge(&self, other: &Self) {
        let other = other.0.lock().clone();
        let mut counts = self.0.lock();
        for (fault, times) in other.faults {
            *counts.faults.entry(fault).or_default() += times;
        }
        for (reached, times) in other.reached {
            *counts.reached.entry(reached).or_default() += times;
        }
    }

    /// What never happened: a long run in which it did not shows nothing about it.
    pub fn missing(&self) -> Vec<String> {
        let faults = Fault::ALL.iter().filter(|fault| self.injected(**fault) == 0);
        let reached = Reached::ALL.iter().filter(|reached| self.times(**reached) == 0);
        faults
            .map(|fault| format!("fault never injected: {fault}"))
            .chain(reached.map(|reached| format!("never reached: {reached}")))
            .collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "faults injected:")?;
        for fault in Fault::ALL {
            writeln!(f, "  {fault:<28} {:>10}", self.injected(*fault))?;
        }
        writeln!(f, "reached:")?;
        for reached in Reached::ALL {
            writeln!(f, "  {reached:<28} {:>10}", self.times(*reached))?;
        }
        Ok(())
    }
}
