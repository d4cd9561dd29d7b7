//! Members that are alive and cannot hear each other.

use super::*;

#[test]
fn a_leader_that_is_cut_off_neither_acknowledges_nor_serves_linearizable_reads() {
    for seed in 0..4 {
        on_cluster(seed, async {
            let cluster = Cluster::start(seed, 3).await;
            let old = cluster.leader().await;
            cluster.put(old, "k").await.unwrap();
            cluster.network.isolate(NodeId(old));
            let majority: Vec<u64> = (1..=3).filter(|id| *id != old).collect();

            let attempt = cluster.replica(old).propose(put("lost", "v"));
            let read = cluster.replica(old).linearizable_view();
            let rest = async {
                // What the old leader was asked last may be answered by nobody.
                cluster.load("turn", 1).await;
                for n in 0..20 {
                    for id in &majority {
                        cluster.put(*id, &format!("{n}.{id}")).await.unwrap();
                    }
                }
            };
            let (attempt, read, ()) = futures::join!(attempt, read, rest);
            assert!(
                matches!(
                    attempt,
                    Err(ProposeError::TimedOut | ProposeError::TimedOutLeaderChanged)
                ),
                "seed {seed}: {attempt:?}"
            );
            assert!(
                matches!(read, Err(ReadIndexError::TimedOut)),
                "seed {seed}: {:?}",
                read.map(|view| view.revision())
            );
            assert_eq!(cluster.replica(old).status().leader, None, "nobody hears it");
            let new = cluster.replica(majority[0]).status().leader;
            assert!(new.is_some_and(|new| new.0 != old), "seed {seed}: {new:?}");

            cluster.network.heal();
            cluster.leader().await;
            // What was never acknowledged was overwritten: nothing of it may show.
            cluster.check(&format!("seed {seed}, healed")).await;
            assert_eq!(get::<Sim>(&cluster.replica(old).view(), "lost"), None);
            cluster.shutdown().await;
        });
    }
}

/// Without pre-vote the returning member's higher term would depose a healthy leader.
#[test]
fn a_follower_that_was_cut_off_disturbs_nobody_when_it_returns() {
    on_cluster(1, async {
        let cluster = Cluster::start(1, 3).await;
        let leader = cluster.leader().await;
        let term = cluster.replica(leader).status().term;
        let follower = cluster.follower().await;
        cluster.network.isolate(NodeId(follower));
        SimRuntime::sleep(Duration::from_secs(20)).await;
        assert_eq!(cluster.replica(follower).status().leader, None);
        cluster.put(leader, "without").await.unwrap();
        cluster.network.heal();
        assert_eq!(cluster.leader().await, leader);
        assert_eq!(cluster.replica(leader).status().term, term, "no election");
        cluster.check("healed").await;
        cluster.shutdown().await;
    });
}

/// Two of three are cut off from each other and both hear the third.
#[test]
fn a_partial_partition_leaves_a_working_majority() {
    on_cluster(3, async {
        let cluster = Cluster::start(3, 3).await;
        let leader = cluster.leader().await;
        let follower = cluster.follower().await;
        cluster.network.cut(NodeId(leader), NodeId(follower));
        cluster.network.cut(NodeId(follower), NodeId(leader));
        let third = 6 - leader - follower;
        for n in 0..10 {
            cluster.put(third, &n.to_string()).await.unwrap();
        }
        cluster.network.heal();
        cluster.leader().await;
        cluster.check("healed").await;
        cluster.shutdown().await;
    });
}

#[test]
fn without_a_quorum_nothing_is_acknowledged_and_nobody_claims_a_leader() {
    on_cluster(4, async {
        let mut cluster = Cluster::start(4, 3).await;
        let leader = cluster.leader().await;
        for id in (1..=3).filter(|id| *id != leader) {
            cluster.kill(id);
        }
        let refused = cluster.replica(leader).propose(put("k", "v")).await;
        assert!(matches!(refused, Err(ProposeError::TimedOut)), "{refused:?}");
        assert!(cluster.replica(leader).read_index().await.is_err());
        assert_eq!(cluster.replica(leader).status().leader, None);
        for id in (1..=3).filter(|id| *id != leader) {
            cluster.boot(id).await;
        }
        cluster.leader().await;
        cluster.load("again", 5).await;
        cluster.converged("again").await;
        cluster.shutdown().await;
    });
}

/// It is elected and cut off before anybody confirms it, for longer than a request may take.
#[test]
fn a_leader_cut_off_at_its_election_leads_once_it_is_heard() {
    on_cluster(9, async {
        let mut cluster = Cluster::start(9, 3).await;
        let old = cluster.leader().await;
        let delay = (Duration::from_millis(20), Duration::from_millis(30));
        cluster.network.set_weather(Weather { delay, ..Weather::default() });
        cluster.power_cut(old);
        let elected = |cluster: &Cluster| {
            let itself = |(id, replica): (&u64, &Replica<Sim>)| {
                (replica.inner.leadership.leader() == Some(NodeId(*id))).then_some(*id)
            };
            cluster.replicas.iter().find_map(itself)
        };
        while elected(&cluster).is_none() {
            SimRuntime::sleep(Duration::from_millis(1)).await;
        }
        let new = elected(&cluster).unwrap();
        assert!(!cluster.replica(new).status().is_leader, "nobody has confirmed it yet");
        cluster.network.isolate(NodeId(new));
        SimRuntime::sleep(Duration::from_secs(10)).await;
        cluster.network.heal();
        cluster.leader().await;
        cluster.boot(old).await;
        cluster.check("healed").await;
        cluster.shutdown().await;
    });
}
