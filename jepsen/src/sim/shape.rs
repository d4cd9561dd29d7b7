//! What a seed makes of a world: how many members, how they are set up, which faults it knows.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use vetch_raft::disk::sim::Timing;
use vetch_raft::log::LogOptions;
use vetch_raft::{ReadMode, Settings};
use vetch_server::lease::LeaseSettings;
use vetch_server::watch;
use vetch_storage::NodeId;

use super::coverage::Fault;

/// All that is decided before a world begins.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Where every choice comes from.
    pub seed: u64,
    /// How many members begin the cluster, with ids from 1.
    pub members: u64,
    /// How many there are at most when members were added.
    pub most_members: u64,
    /// Operators who change the group at a time.
    pub operators: usize,
    /// How long faults are injected.
    pub storm: Duration,
    /// Which faults this world knows; each seed has some of them, so that rare combinations are not
    /// drowned by the usual ones.
    pub faults: BTreeSet<Fault>,
    /// Longest pause between two faults.
    pub fault_gap: Duration,
    /// Clients that read and write.
    pub clients: u32,
    /// Clients that update one object after another as Kubernetes does.
    pub controllers: u32,
    /// Clients that hold leases.
    pub holders: u32,
    /// Watchers of each member.
    pub watchers: u32,
    /// Longest pause of a client between two operations.
    pub client_pause: Duration,
    /// Keys that clients share.
    pub keys: u32,
    /// Entries between two checkpoints, and entries kept behind one.
    pub checkpoint: (u64, u64),
    /// How the log lies on disk; small, so that short histories cross many borders.
    pub log: LogOptions,
    /// What writing and flushing take.
    pub disk: (Timing, Timing),
    /// Bounds of watch.
    pub watch: watch::Settings,
    /// Whether the remaining time of leases is recorded.
    pub lease_checkpoints: bool,
}

/// As etcd's defaults.
pub(super) const ELECTION: Duration = Duration::from_secs(1);
const HEARTBEAT: Duration = Duration::from_millis(100);
/// How long a request may take in a member; shorter than etcd's, so that a run sees it pass.
pub(super) const REQUEST: Duration = Duration::from_secs(4);
/// How often the remaining time of a lease longer than this is recorded.
pub(super) const LEASE_CHECKPOINT: Duration = Duration::from_secs(2);

impl Shape {
    /// What `seed` stands for.
    pub fn of(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed ^ 0x5ee_d0f_a11);
        let members = *[1, 2, 3, 3, 3, 3, 5, 5].choose(&mut random).expect("some");
        // Two faults of three are known to a world, on average.
        let share = random.random_range(0.4..0.95);
        let faults = Fault::ALL.iter().copied().filter(|_| random.random_bool(share)).collect();
        let small_log = random.random_bool(0.5);
        let timing = |write, sync| Timing {
            write: Duration::from_micros(write),
            sync: Duration::from_micros(sync),
        };
        Self {
            seed,
            members,
            most_members: if random.random_bool(0.7) { 5 } else { 7 },
            operators: random.random_range(1..=2),
            storm: Duration::from_secs(random.random_range(8..25)),
            faults,
            fault_gap: Duration::from_millis(random.random_range(300..2_500)),
            clients: random.random_range(2..5),
            controllers: random.random_range(0..3),
            holders: random.random_range(0..3),
            watchers: random.random_range(0..3),
            client_pause: Duration::from_millis(random.random_range(60..300)),
            keys: random.random_range(2..8),
            checkpoint: *[(5, 2), (20, 5), (50, 200), (1_000, 5_000)]
                .choose(&mut random)
                .expect("some"),
            log: LogOptions {
                segment_bytes: if small_log { 2 << 10 } else { 16 << 10 },
                tail_bytes: random.random_range(0..8_000),
                read_bytes: random.random_range(200..8_000),
            },
            disk: if random.random_bool(0.5) {
                (timing(20, 100), timing(20, 100))
            } else {
                (timing(50, 500), timing(1_000, 9_000))
            },
            watch: watch::Settings {
                progress_interval: Duration::from_millis(300),
                fragment_bytes: 600,
                outbox_bytes: random.random_range(500..4_000),
                event_log_bytes: random.random_range(200..8_000),
                piece_bytes: 512,
                piece_revisions: 4,
            },
            lease_checkpoints: random.random_bool(0.5),
        }
    }

    /// The seed's world with these faults only.
    #[must_use]
    pub fn with_faults(mut self, faults: impl IntoIterator<Item = Fault>) -> Self {
        self.faults = faults.into_iter().collect();
        self
    }

    pub(super) fn settings(&self, id: u64) -> Settings {
        Settings {
            id: NodeId(id),
            heartbeat_interval: HEARTBEAT,
            election_timeout: ELECTION,
            request_timeout: REQUEST,
            checkpoint_entries: self.checkpoint.0,
            catchup_entries: self.checkpoint.1,
            max_inflight_proposals: 5_000,
            max_inflight_bytes: 64 << 20,
            read_mode: ReadMode::ReadIndex,
        }
    }

    pub(super) fn leases(&self) -> LeaseSettings {
        LeaseSettings {
            min_ttl: 2,
            extension: ELECTION,
            request_timeout: REQUEST,
            checkpoint_interval: self.lease_checkpoints.then_some(LEASE_CHECKPOINT),
        }
    }

    pub(super) fn knows(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }
}
