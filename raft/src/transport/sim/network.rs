//! Who is on the network, what is cut, and what each message meets.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openraft_rt::Instant;
use openraft_rt_sim::SimInstant;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use vetch_proto::vetchpb::peer_request::Request;
use vetch_proto::vetchpb::{PeerRequest, SnapshotRequest};
use vetch_storage::NodeId;

use crate::transport::PeerService;

/// What messages meet.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Shortest and longest time under way.
    pub delay: (Duration, Duration),
    /// Messages lost of a thousand.
    pub lost: u32,
    /// Calls that are idempotent and arrive twice, of a thousand.
    pub doubled: u32,
}

impl Default for Weather {
    /// A calm local network.
    fn default() -> Self {
        Self { delay: (Duration::from_micros(50), Duration::from_micros(200)), lost: 0, doubled: 0 }
    }
}

/// The network between simulated members. Clones are the same network.
#[derive(Clone)]
pub struct SimNetwork {
    world: Arc<Mutex<World>>,
}

struct World {
    chance: SmallRng,
    weather: Weather,
    /// Directions in which nothing arrives.
    cuts: BTreeSet<(NodeId, NodeId)>,
    members: BTreeMap<NodeId, Arc<Member>>,
    dials: u64,
    damaged_chunks: u32,
}

/// A member that can be reached, and whether its machine is up.
pub(super) struct Member {
    pub(super) service: Arc<dyn PeerService>,
    pub(super) machine: Arc<AtomicBool>,
}

impl Member {
    fn is_on(&self, machine: &Arc<AtomicBool>) -> bool {
        Arc::ptr_eq(&self.machine, machine)
    }
}

/// What one message will meet.
pub(super) struct Fate {
    pub(super) arrives: SimInstant,
    pub(super) lost: bool,
    pub(super) doubled: bool,
}

impl SimNetwork {
    /// A network without members.
    pub fn new(seed: u64) -> Self {
        let world = World {
            chance: SmallRng::seed_from_u64(seed),
            weather: Weather::default(),
            cuts: BTreeSet::new(),
            members: BTreeMap::new(),
            dials: 0,
            damaged_chunks: 0,
        };
        Self { world: Arc::new(Mutex::new(world)) }
    }

    /// Sets what messages sent from now on meet.
    pub fn set_weather(&self, weather: Weather) {
        self.world.lock().weather = weather;
    }

    /// Of a thousand chunks of a snapshot so many arrive with a bit that is not as it was sent.
    pub fn damage_chunks(&self, of_a_thousand: u32) {
        self.world.lock().damaged_chunks = of_a_thousand;
    }

    pub(super) fn maybe_damage(&self, request: &mut PeerRequest) {
        let Some(Request::Snapshot(SnapshotRequest { contents, .. })) = &mut request.request else {
            return;
        };
        let mut guard = self.world.lock();
        let world = &mut *guard;
        if contents.is_empty() || world.damaged_chunks == 0 {
            return;
        }
        if world.chance.random_range(0..1000) < world.damaged_chunks {
            let mut bytes = contents.to_vec();
            let at = world.chance.random_range(0..bytes.len());
            bytes[at] ^= 1 << world.chance.random_range(0..8);
            *contents = bytes.into();
        }
    }

    /// Lets nothing from `from` arrive at `to`.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.world.lock().cuts.insert((from, to));
    }

    /// Cuts every way between `one` and the others that are here now, both directions.
    pub fn isolate(&self, one: NodeId) {
        let mut world = self.world.lock();
        let others: Vec<NodeId> = world.members.keys().copied().filter(|id| *id != one).collect();
        world.cuts.extend(others.iter().flat_map(|other| [(one, *other), (*other, one)]));
    }

    /// Ends every cut.
    pub fn heal(&self) {
        self.world.lock().cuts.clear();
    }

    /// Attempts to reach a member so far, whatever became of them.
    pub fn dials(&self) -> u64 {
        self.world.lock().dials
    }

    pub(super) fn fate(&self) -> Fate {
        let mut guard = self.world.lock();
        let world = &mut *guard;
        let Weather { delay: (least, most), lost, doubled } = world.weather;
        let delay = world.chance.random_range(least.as_nanos()..=most.as_nanos());
        let delay = Duration::from_nanos(u64::try_from(delay).unwrap_or(u64::MAX));
        Fate {
            arrives: SimInstant::now() + delay,
            lost: world.chance.random_range(0..1000) < lost,
            doubled: world.chance.random_range(0..1000) < doubled,
        }
    }

    pub(super) fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.world.lock().cuts.contains(&(from, to))
    }

    pub(super) fn member(&self, id: NodeId) -> Option<Arc<Member>> {
        let member = self.world.lock().members.get(&id).cloned()?;
        member.machine.load(Ordering::Acquire).then_some(member)
    }
    /// One more attempt to reach a member begins.
    pub(super) fn dialled(&self) {
        self.world.lock().dials += 1;
    }

    /// Whoever asks for `id` from now on reaches `member`.
    pub(super) fn enter(&self, id: NodeId, member: Member) {
        let before = self.world.lock().members.insert(id, Arc::new(member));
        // The last hold on a member may be this one, and its end comes back here.
        drop(before);
    }

    /// Takes `id` off, unless it is on another machine by now.
    pub(super) fn leave(&self, id: NodeId, machine: &Arc<AtomicBool>) {
        let mut world = self.world.lock();
        let ours = world.members.get(&id).is_some_and(|member| member.is_on(machine));
        let gone = if ours { world.members.remove(&id) } else { None };
        drop(world);
        drop(gone);
    }

    /// Takes all that is on `machine` off.
    pub(super) fn clear(&self, machine: &Arc<AtomicBool>) {
        let gone: Vec<Arc<Member>> = {
            let members = &mut self.world.lock().members;
            let ours = members.extract_if(.., |_, member| member.is_on(machine));
            ours.map(|(_, member)| member).collect()
        };
        drop(gone);
    }
}

impl fmt::Debug for SimNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let world = self.world.lock();
        f.debug_struct("SimNetwork")
            .field("members", &world.members.keys())
            .field("cuts", &world.cuts)
            .finish_non_exhaustive()
    }
}
