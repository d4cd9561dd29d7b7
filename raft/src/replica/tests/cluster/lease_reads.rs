//! Reads that rely on a leader's lease.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;

fn leased() -> Settings {
    Settings { read_mode: ReadMode::LeaderLease, ..Settings::for_tests() }
}

impl Cluster {
    /// Writes by way of `via` and reads on `old`, a leader that is cut off, until the others have
    /// written for a while: no read shows less than what was acknowledged before it began. How many
    /// there were.
    async fn reads_beside_writes(&self, old: u64, via: u64, context: &str) -> u64 {
        let (newest, done) = (AtomicU64::new(0), AtomicBool::new(false));
        let writes = async {
            for n in 1.. {
                if self.replica(via).propose(put("k", &n.to_string())).await.is_ok() {
                    newest.store(n, Ordering::Release);
                    if n > 100 {
                        break;
                    }
                }
            }
            done.store(true, Ordering::Release);
        };
        let reads = async {
            let (mut served, patience) = (0, Duration::from_millis(20));
            while !done.load(Ordering::Acquire) {
                let acknowledged = newest.load(Ordering::Acquire);
                let read = Box::pin(self.replica(old).linearizable_view());
                if let Ok(Ok(view)) = SimRuntime::timeout(patience, read).await {
                    let found = get::<Sim>(&view, "k").map_or(0, |n| n.parse().unwrap());
                    assert!(found >= acknowledged, "{context}: {found} after {acknowledged}");
                    served += 1;
                }
                SimRuntime::sleep(Duration::from_millis(1)).await;
            }
            served
        };
        let (served, ()) = futures::join!(reads, writes);
        served
    }
}

#[test]
fn a_leader_with_a_lease_reads_without_asking_anybody() {
    on_cluster(1, async {
        let cluster = Cluster::start_with(1, 3, leased()).await;
        let leader = cluster.leader().await;
        let revision = cluster.put(leader, "k").await.unwrap();
        let before = cluster.network.dials();
        for _ in 0..1_000 {
            let view = cluster.replica(leader).linearizable_view().await.unwrap();
            assert_eq!(view.revision(), revision);
        }
        let dials = cluster.network.dials() - before;
        assert!(dials < 20, "{dials} messages for reads of a leader with a lease");
        let follower = cluster.follower().await;
        let view = cluster.replica(follower).linearizable_view().await.unwrap();
        assert_eq!(view.revision(), revision, "a follower asks the leader");
        cluster.check("leased").await;
        cluster.shutdown().await;
    });
}

#[test]
fn a_lease_is_over_before_anybody_else_leads() {
    for seed in 0..4 {
        on_cluster(seed, async {
            let cluster = Cluster::start_with(seed, 3, leased()).await;
            let old = cluster.leader().await;
            cluster.network.isolate(NodeId(old));
            let context = format!("seed {seed}");
            let served = cluster.reads_beside_writes(old, 1 + old % 3, &context).await;
            assert!(served > 10, "{context}: {served} reads by lease");
            let late = Box::pin(cluster.replica(old).linearizable_view());
            let late = SimRuntime::timeout(Duration::from_secs(1), late).await;
            assert!(!matches!(late, Ok(Ok(_))), "{context}: the lease has run out");
            cluster.network.heal();
            cluster.leader().await;
            let view = cluster.replica(old).linearizable_view().await.unwrap();
            assert_eq!(get::<Sim>(&view, "k").as_deref(), Some("101"), "{context}");
            cluster.shutdown().await;
        });
    }
}

impl Cluster {
    /// A follower is started anew with these settings right after it has heard from its leader, which hears
    /// from nobody from then on. Another one has been asking for its vote for so long already.
    async fn restart_voter(&mut self, asking: Duration, settings: Settings, context: &str) -> u64 {
        let old = self.leader().await;
        let (voter, candidate) = (1 + old % 3, 1 + (old + 1) % 3);
        let cut = |cluster: &Self, other| {
            cluster.network.cut(NodeId(old), NodeId(other));
            cluster.network.cut(NodeId(other), NodeId(old));
        };
        cut(self, candidate);
        SimRuntime::sleep(asking).await;
        cut(self, voter);
        self.kill(voter);
        self.settings = settings;
        self.boot(voter).await;
        let served = self.reads_beside_writes(old, candidate, context).await;
        self.network.heal();
        self.leader().await;
        self.converged(context).await;
        served
    }
}

/// It has forgotten that it heard from its leader a moment ago. At some of the moments the other one's next
/// question comes before the leader's lease is over.
#[test]
fn a_restarted_voter_keeps_what_it_let_its_leader_rely_on() {
    for moment in 0..16 {
        on_cluster(moment, async {
            let mut cluster = Cluster::start_with(moment, 3, leased()).await;
            let asking = Duration::from_millis(3_000 + 30 * moment);
            let context = format!("moment {moment}");
            let served = cluster.restart_voter(asking, leased(), &context).await;
            assert!(served > 10, "{context}: {served} reads by lease");
            cluster.shutdown().await;
        });
    }
}

/// As above, and it is set to promise nothing from then on: what it promised before it keeps.
#[test]
fn a_voter_restarted_in_the_other_mode_keeps_what_it_promised_before() {
    for moment in 0..16 {
        on_cluster(moment, async {
            let mut cluster = Cluster::start_with(moment, 3, leased()).await;
            let asking = Duration::from_millis(3_000 + 30 * moment);
            let context = format!("moment {moment}");
            let served = cluster.restart_voter(asking, Settings::for_tests(), &context).await;
            assert!(served > 10, "{context}: {served} reads by lease");
            cluster.shutdown().await;
        });
    }
}

/// A voter that keeps nothing over its restarts says so; no lease is counted on it.
#[test]
fn a_leader_asks_for_each_read_as_long_as_one_voter_is_set_otherwise() {
    on_cluster(3, async {
        let mut cluster = Cluster::start_with(3, 3, leased()).await;
        let odd = cluster.follower().await;
        let leader = cluster.leader().await;
        for (settings, leased_reads) in [(Settings::for_tests(), false), (leased(), true)] {
            cluster.kill(odd);
            cluster.settings = settings;
            cluster.boot(odd).await;
            cluster.put(leader, &format!("{leased_reads}")).await.unwrap();
            // Its answers have told what it promises.
            SimRuntime::sleep(Duration::from_secs(2)).await;
            assert_eq!(cluster.leader().await, leader);
            let before = cluster.network.dials();
            for _ in 0..200 {
                cluster.replica(leader).linearizable_view().await.unwrap();
            }
            let dials = cluster.network.dials() - before;
            assert_eq!(dials < 20, leased_reads, "{dials} messages for 200 reads");
        }
        cluster.check("set alike again").await;
        cluster.shutdown().await;
    });
}

/// In the other mode, where it is not promised that a restarted voter waits, nothing is relied on either.
#[test]
fn voters_that_promise_nothing_are_not_relied_on() {
    for moment in 0..16 {
        on_cluster(moment, async {
            let mut cluster = Cluster::start(moment, 3).await;
            let leader = cluster.follower().await;
            cluster.kill(leader);
            cluster.settings = leased();
            cluster.boot(leader).await;
            let old = cluster.leader().await;
            cluster.put(old, "begun").await.unwrap();
            cluster.replica(leader).published().await;
            SimRuntime::sleep(Duration::from_secs(1)).await;
            cluster.replica(old).transfer_leadership(NodeId(leader)).await.unwrap();
            let asking = Duration::from_millis(3_000 + 30 * moment);
            let context = format!("moment {moment}");
            cluster.restart_voter(asking, Settings::for_tests(), &context).await;
            cluster.shutdown().await;
        });
    }
}
