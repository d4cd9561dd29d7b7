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

/// A follower that restarts has forgotten that it heard from its leader a moment ago, and another one
/// has been waiting for its vote.
#[test]
fn a_restarted_voter_keeps_what_it_let_its_leader_rely_on() {
    for seed in 0..6 {
        on_cluster(seed, async {
            let mut cluster = Cluster::start_with(seed, 3, leased()).await;
            let old = cluster.leader().await;
            let (voter, candidate) = (1 + old % 3, 1 + (old + 1) % 3);
            let cut = |one, other| {
                cluster.network.cut(NodeId(one), NodeId(other));
                cluster.network.cut(NodeId(other), NodeId(one));
            };
            cut(old, candidate);
            SimRuntime::sleep(Duration::from_secs(3)).await;
            cut(old, voter);
            cluster.kill(voter);
            cluster.boot(voter).await;
            let context = format!("seed {seed}");
            let via = if seed % 2 == 0 { voter } else { candidate };
            let served = cluster.reads_beside_writes(old, via, &context).await;
            assert!(served > 10, "{context}: {served} reads by lease");
            cluster.network.heal();
            cluster.leader().await;
            cluster.converged(&context).await;
            cluster.shutdown().await;
        });
    }
}
