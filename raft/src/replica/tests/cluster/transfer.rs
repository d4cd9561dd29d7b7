//! Leadership handed over.

use super::*;

#[test]
fn leadership_moves_to_the_voter_that_is_asked_for() {
    on_cluster(1, async {
        let cluster = Cluster::start(1, 3).await;
        let mut leader = cluster.leader().await;
        for round in 0..6 {
            let target = 1 + leader % 3;
            let began = SimInstant::now();
            cluster.replica(leader).transfer_leadership(NodeId(target)).await.unwrap();
            assert!(began.elapsed() < Duration::from_millis(100), "took {:?}", began.elapsed());
            cluster.put(leader, &format!("{round}")).await.unwrap();
            assert_eq!(cluster.leader().await, target);
            leader = target;
        }
        cluster.replica(leader).transfer_leadership(NodeId(leader)).await.unwrap();
        cluster.check("moved").await;
        cluster.shutdown().await;
    });
}

#[test]
fn a_transfer_that_cannot_succeed_is_not_begun() {
    on_cluster(2, async {
        let cluster = Cluster::start(2, 3).await;
        let leader = cluster.leader().await;
        let follower = cluster.follower().await;
        let refused = cluster.replica(follower).transfer_leadership(NodeId(leader)).await;
        assert_eq!(refused, Err(TransferError::NotLeader));
        let refused = cluster.replica(leader).transfer_leadership(NodeId(99)).await;
        assert_eq!(refused, Err(TransferError::NoVoter));
        cluster.network.isolate(NodeId(follower));
        SimRuntime::sleep(Duration::from_secs(2)).await;
        let refused = cluster.replica(leader).transfer_leadership(NodeId(follower)).await;
        assert_eq!(refused, Err(TransferError::NotReady));
        // The leader was never disturbed.
        cluster.put(leader, "k").await.unwrap();
        assert_eq!(cluster.replica(leader).status().leader, Some(NodeId(leader)));
        cluster.network.heal();
        cluster.shutdown().await;
    });
}

/// The second of two that stops hands over all the same: whoever is left leads at once when the first is
/// back, and nobody waits for an election.
#[test]
fn a_leader_hands_over_even_to_one_that_will_be_alone() {
    for seed in 0..3 {
        on_cluster(seed, async {
            let mut cluster = Cluster::start(seed, 3).await;
            let gone = cluster.follower().await;
            cluster.kill(gone);
            let leader = cluster.leader().await;
            let other = 6 - leader - gone;
            cluster.put(leader, "before").await.unwrap();
            let stopping = cluster.replicas.remove(&leader).unwrap();
            let began = SimInstant::now();
            stopping.shutdown().await;
            let took = began.elapsed();
            assert!(took < Duration::from_millis(500), "seed {seed}: it stops in {took:?}");
            assert_eq!(cluster.replica(other).inner.leadership.leader(), Some(NodeId(other)));
            cluster.boot(leader).await;
            let began = SimInstant::now();
            cluster.put(leader, "after").await.unwrap();
            let took = began.elapsed();
            assert!(took < Duration::from_millis(500), "seed {seed}: a gap of {took:?}");
            assert_eq!(cluster.leader().await, other, "seed {seed}");
            cluster.boot(gone).await;
            cluster.check(&format!("seed {seed}")).await;
            cluster.shutdown().await;
        });
    }
}

/// With nobody left to hand over to it stops at once.
#[test]
fn a_leader_without_others_stops_at_once() {
    on_cluster(6, async {
        let mut cluster = Cluster::start(6, 3).await;
        let leader = cluster.leader().await;
        for id in (1..=3).filter(|id| *id != leader) {
            cluster.kill(id);
        }
        SimRuntime::sleep(Duration::from_secs(3)).await;
        let began = SimInstant::now();
        cluster.replica(leader).shutdown().await;
        let took = began.elapsed();
        assert!(took < Duration::from_millis(500), "it stops in {took:?}");
    });
}

/// A leader that stops in order hands over first: writers wait for a round trip, not for an election.
#[test]
fn a_rolling_restart_is_hardly_noticed() {
    on_cluster(3, async {
        let mut cluster = Cluster::start(3, 3).await;
        for round in 0..3 {
            let leader = cluster.leader().await;
            let survivor = 1 + leader % 3;
            let stopping = cluster.replicas.remove(&leader).unwrap();
            let writes = async {
                let mut longest = Duration::ZERO;
                for n in 0..200 {
                    let began = SimInstant::now();
                    cluster.put(survivor, &format!("{round}.{n}")).await.unwrap();
                    longest = longest.max(began.elapsed());
                }
                longest
            };
            let (longest, ()) = futures::join!(writes, stopping.shutdown());
            assert!(longest < Duration::from_millis(150), "round {round}: a gap of {longest:?}");
            cluster.boot(leader).await;
        }
        cluster.check("rolled").await;
        cluster.shutdown().await;
    });
}
