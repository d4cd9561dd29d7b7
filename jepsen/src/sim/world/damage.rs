//! Disks: how new ones are, what is found on them, and what is done to them.

use openraft_rt_sim::SimRuntime;
use rand::Rng;
use rand::rngs::SmallRng;
use vetch_raft::disk::sim::SimDisk;
use vetch_raft::disk::{Disk, FileName};
use vetch_raft::log::reader::{self, Listing};
use vetch_raft::manifest::Manifest;
use vetch_raft::platform::sim::Sim;
use vetch_storage::{LogIndex, NodeId};

use super::group::Disks;
use super::{Place, World};
use crate::sim::coverage::Reached;
use crate::sim::life::{data_dir, wal_dir};

impl World {
    /// A machine with empty disks.
    pub(super) fn new_machine(&self, seed: u64, random: &mut SmallRng) -> Sim {
        let shape = &self.shape;
        let timing = if random.random_bool(0.5) { shape.disk.0 } else { shape.disk.1 };
        let disk = |salt: u64| SimDisk::on_runtime::<SimRuntime>(seed ^ salt, timing);
        Sim::on(&self.network, seed)
            .with_disk(&data_dir(), disk(0xd1))
            .with_disk(&wal_dir(), disk(0xd2))
    }

    /// Holds the log on disk against what the member has promised.
    pub(super) fn look_at_log(&self, id: u64, sim: &Sim) {
        match reader::list(&sim.disk(&wal_dir())) {
            Ok(found) => {
                let leftover = found.as_ref().is_some_and(|log| log.leftover > 0);
                self.coverage.add(Reached::TornTail, u64::from(leftover));
                let purged = found.as_ref().is_some_and(|log| log.purged.is_some());
                self.coverage.add(Reached::Purged, u64::from(purged));
                self.trace.mix(found.as_ref().map(|log| (log.entries.len(), log.leftover)));
                // What a damaged manifest says is not what the member goes by: it refuses to start.
                let flipped = self.with(id, |member| member.before_flip.clone());
                let whole = flipped.map(|(dir, disk)| sim.with_disk(&dir, disk.copy()));
                let installed = installed(whole.as_ref().unwrap_or(sim));
                self.oracle.log_found(NodeId(id), found.as_ref(), installed);
            }
            Err(error) => self.trace.note(format_args!("m{id}'s log cannot be read: {error}")),
        }
    }

    /// Flips a bit of the log of a member that is down, or of what else is in its directory.
    pub fn flip_bit(&self, id: u64) -> Option<String> {
        self.with(id, |member| {
            if !matches!(member.place, Place::Down) || member.before_flip.is_some() {
                return None;
            }
            let home = member.random.random_ratio(1, 4);
            let dir = if home { data_dir() } else { wal_dir() };
            let disk = member.sim.disk(&dir);
            let files = disk.list().ok()?;
            let file = files.get(member.random.random_range(0..files.len().max(1)))?;
            let len = usize::try_from(file.len).ok()?;
            let bytes = disk.read(&file.name, 0, len).ok()?;
            let written = bytes.iter().rposition(|byte| *byte != 0)? + 1;
            let at = member.random.random_range(0..written) as u64;
            let mask = 1 << member.random.random_range(0..8);
            member.before_flip = Some((dir, disk.copy()));
            disk.flip(&file.name, at, mask);
            Some(format!("{} at {at}", file.name))
        })
    }

    /// Flips a bit of what the member's engine holds, while it runs.
    pub fn decay(&self, id: u64, draw: u64) -> Option<String> {
        self.with(id, |member| {
            let decayed = member.sim.engine().decay(draw)?;
            let place = decayed.to_string();
            member.decayed.push(decayed);
            member.rots = true;
            Some(place)
        })
    }

    /// Puts back what has flipped in the member's engine, as from a copy of its directory; whether there
    /// was something. What the member has written since stays.
    pub fn restore(&self, id: u64) -> bool {
        self.with(id, |member| {
            let decayed = std::mem::take(&mut member.decayed);
            for engine in member.sim.engines() {
                // What flipped twice goes back step by step.
                decayed.iter().rev().for_each(|one| engine.restore(one));
            }
            !decayed.is_empty()
        })
    }

    /// The disks of a machine that is down are lost for good, and empty ones are in their place. With
    /// `comes_back`, the member will be started on them as if nothing had happened.
    pub fn lose_disks(&self, id: u64, comes_back: bool) {
        self.with(id, |member| {
            assert!(matches!(member.place, Place::Down), "nothing runs on lost disks");
            let seed = member.random.random();
            member.sim = self.new_machine(seed, &mut member.random);
            member.disks = if comes_back { Disks::Wiped } else { Disks::Lost };
            member.before_flip = None;
            member.decayed.clear();
        });
        self.oracle.wiped(NodeId(id));
    }

    /// Whether every other member of the group has noted who `id` is, and would know another under its
    /// id.
    pub fn is_known_to_all(&self, id: u64) -> bool {
        let others = self.ids().into_iter().filter(|other| *other != id);
        others.map(|other| self.sim(other)).all(|sim| {
            let known = read_home(&sim, "PEERS");
            let line = format!("{id:x} ");
            String::from_utf8_lossy(&known).lines().any(|known| known.starts_with(&line))
        })
    }
}

pub(super) fn end_of_log(sim: &Sim) -> Option<u64> {
    let found: Option<Listing> = reader::list(&sim.disk(&wal_dir())).ok().flatten();
    found.and_then(|log| log.last).map(|last| last.index)
}

/// Up to where the state reaches that a member last got from a peer and put in use.
fn installed(sim: &Sim) -> LogIndex {
    let path = sim.disk(&data_dir()).path(&FileName::new("MANIFEST"));
    let manifest = Manifest::decode(&path, &read_home(sim, "MANIFEST"));
    manifest.map_or(LogIndex(0), |manifest| manifest.state.installed)
}

/// A file in the member's directory; nothing when it is not there.
fn read_home(sim: &Sim, name: &'static str) -> Vec<u8> {
    let (home, name) = (sim.disk(&data_dir()), FileName::new(name));
    let files = home.list().unwrap_or_default();
    let len = files.iter().find(|file| file.name == name).map_or(0, |file| file.len);
    home.read(&name, 0, usize::try_from(len).unwrap_or(0)).unwrap_or_default()
}
