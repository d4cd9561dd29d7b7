//! What is counted of whole states, at both ends.

use super::*;
use crate::transport::observer::{PeerObserver, PeerTraffic, Way};

/// Counts the whole states that one machine sends and receives.
#[derive(Clone, Debug, Default)]
struct Counts(Arc<Mutex<BTreeMap<(NodeId, Way), States>>>);

/// Of one peer, one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct States {
    on_their_way: usize,
    arrived: usize,
    lost: usize,
    /// How long the last one took.
    took: Duration,
}

#[derive(Debug)]
struct Peer(Counts, NodeId);

impl PeerObserver for Counts {
    fn of(&self, peer: NodeId) -> Arc<dyn PeerTraffic> {
        Arc::new(Peer(self.clone(), peer))
    }
}

impl Peer {
    fn count(&self, way: Way, count: impl FnOnce(&mut States)) {
        count(self.0.0.lock().entry((self.1, way)).or_default());
    }
}

impl PeerTraffic for Peer {
    fn sent(&self, _: usize) {}
    fn received(&self, _: usize) {}
    fn send_failed(&self) {}
    fn receive_failed(&self) {}
    fn round_trip(&self, _: Duration) {}
    fn reached(&self, _: bool) {}

    fn state_begun(&self, way: Way) {
        self.count(way, |states| states.on_their_way += 1);
    }

    fn state_ended(&self, way: Way, arrived_after: Option<Duration>) {
        self.count(way, |states| {
            states.on_their_way -= 1;
            match arrived_after {
                Some(took) => (states.arrived, states.took) = (states.arrived + 1, took),
                None => states.lost += 1,
            }
        });
    }
}

/// Three members that are counted, the one of them that is behind, and the leader.
struct Counted {
    cluster: Cluster,
    counts: BTreeMap<u64, Counts>,
    behind: u64,
    leader: u64,
}

impl Counted {
    async fn start(seed: u64) -> Self {
        let mut cluster = Cluster::off(seed, 3, short_logs());
        let mut counts = BTreeMap::new();
        for (id, machine) in &mut cluster.machines {
            let counted = Counts::default();
            *machine = machine.observed_by(Arc::new(counted.clone()));
            counts.insert(*id, counted);
        }
        for id in 1..=3 {
            cluster.boot(id).await;
        }
        let behind = cluster.leave_one_behind().await;
        let leader = cluster.leader().await;
        cluster.boot(behind).await;
        cluster.being_given(behind).await;
        Self { cluster, counts, behind, leader }
    }

    /// What the leader has sent to the one behind, and what that has received from it.
    fn both_ends(&self) -> [States; 2] {
        let Self { counts, behind, leader, .. } = self;
        let ends = [(leader, behind, Way::Out), (behind, leader, Way::In)];
        ends.map(|(at, peer, way)| counts[at].0.lock()[&(NodeId(*peer), way)])
    }

    /// Waits until a state is in use at last, after `lost` others at each end.
    async fn assert_arrives_after(self, lost: [usize; 2]) {
        let arrived = |_: &Cluster| self.both_ends().iter().all(|states| states.arrived == 1);
        self.cluster.until("the state in use, and counted", arrived).await;
        for (states, lost) in self.both_ends().into_iter().zip(lost) {
            assert!(states.took > Duration::ZERO);
            let all = States { on_their_way: 0, arrived: 1, lost, took: states.took };
            assert_eq!(states, all);
        }
        assert_eq!(self.cluster.installed(self.behind), 1);
        self.cluster.shutdown().await;
    }
}

#[test]
fn a_state_is_counted_while_it_is_on_its_way_and_when_it_has_arrived() {
    on_cluster(1, async {
        let counted = Counted::start(1).await;
        for states in counted.both_ends() {
            assert_eq!(states, States { on_their_way: 1, ..States::default() });
        }
        counted.assert_arrives_after([0, 0]).await;
    });
}

#[test]
fn a_state_that_cannot_be_stored_is_lost_to_both() {
    on_cluster(2, async {
        let counted = Counted::start(2).await;
        let full = counted.cluster.machines[&counted.behind].engine();
        full.fail_apply(2, vetch_storage::engine::mem::Fault::NoSpace);
        counted.assert_arrives_after([1, 1]).await;
    });
}

/// Neither hears of the other any more: each gives up by itself.
#[test]
fn a_state_whose_other_end_is_gone_is_lost() {
    on_cluster(3, async {
        let counted = Counted::start(3).await;
        let cluster = &counted.cluster;
        cluster.network.isolate(NodeId(counted.behind));
        SimRuntime::sleep(Duration::from_mins(3)).await;
        for states in counted.both_ends() {
            assert_eq!(states, States { lost: 1, ..States::default() });
        }
        cluster.network.heal();
        counted.assert_arrives_after([1, 1]).await;
    });
}
