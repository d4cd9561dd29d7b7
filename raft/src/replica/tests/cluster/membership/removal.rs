//! Whoever is removed learns of it and stops, wherever it was, and harms nobody before.

use super::*;

/// A dead member is removed and another takes its place; what the dead one says when it comes back is
/// heard by nobody, and it stops.
#[test]
fn a_dead_member_is_replaced_and_harms_nobody_when_it_comes_back() {
    for seed in 0..3 {
        on_cluster(seed, async {
            let mut cluster = Cluster::start(seed, 3).await;
            for replica in cluster.replicas.values() {
                replica.published().await;
            }
            let dead = if seed == 0 { cluster.leader().await } else { cluster.follower().await };
            cluster.load("before", 10).await;
            cluster.kill(dead);
            let via = *cluster.replicas.keys().next().unwrap();
            cluster.insist(via, remove(dead)).await;
            cluster.grow(via, 4, "replaced").await;
            let leader = cluster.leader().await;
            let term = cluster.replica(leader).status().term;

            cluster.boot(dead).await;
            let zombie = cluster.replicas.remove(&dead).unwrap();
            futures::join!(assert_removed(&zombie), cluster.load("zombie", 50));
            zombie.shutdown().await;
            drop(zombie);
            assert_eq!(cluster.leader().await, leader);
            assert_eq!(cluster.replica(leader).status().term, term, "no election was forced");
            cluster.check(&format!("seed {seed}")).await;
            cluster.shutdown().await;
        });
    }
}

/// It was cut off while it was removed, leads in its own eyes, and its messages arrive when the cut is
/// mended.
#[test]
fn a_removed_leader_behind_a_partition_is_told_when_it_is_back() {
    on_cluster(5, async {
        let mut cluster = Cluster::start(5, 3).await;
        for replica in cluster.replicas.values() {
            replica.published().await;
        }
        let old = cluster.leader().await;
        cluster.network.isolate(NodeId(old));
        let removed = cluster.replicas.remove(&old).unwrap();
        let via = cluster.follower().await;
        cluster.insist(via, remove(old)).await;
        cluster.load("without", 10).await;
        assert!(SimRuntime::timeout(Duration::from_secs(5), removed.fatal()).await.is_err());
        let stale = removed.propose(put("stale", "")).await;
        assert!(stale.is_err(), "{stale:?}");
        cluster.network.heal();
        futures::join!(assert_removed(&removed), cluster.load("healed", 20));
        cluster.check("healed").await;
        removed.shutdown().await;
        cluster.shutdown().await;
    });
}

/// A learner never campaigns; it learns of its removal all the same.
#[test]
fn a_learner_removed_while_it_was_down_is_told() {
    on_cluster(6, async {
        let mut cluster = Cluster::start(6, 3).await;
        let via = cluster.leader().await;
        cluster.change(via, add(4, true)).await.unwrap();
        cluster.join(4).await;
        cluster.replica(4).published().await;
        cluster.kill(4);
        cluster.change(via, remove(4)).await.unwrap();
        cluster.boot(4).await;
        let learner = cluster.replicas.remove(&4).unwrap();
        assert_removed(&learner).await;
        learner.shutdown().await;
        cluster.shutdown().await;
    });
}

/// Who is asked to remove itself answers, then stops; a leader hands over first.
#[test]
fn a_member_that_removes_itself_answers_and_stops() {
    for seed in 0..4 {
        on_cluster(seed, async {
            let mut cluster = Cluster::start(seed, 3).await;
            for replica in cluster.replicas.values() {
                replica.published().await;
            }
            let leaving =
                if seed % 2 == 0 { cluster.leader().await } else { cluster.follower().await };
            let survivor = 1 + leaving % 3;
            let replica = cluster.replicas.remove(&leaving).unwrap();
            let writes = async {
                let mut longest = Duration::ZERO;
                for n in 0..300 {
                    let began = SimInstant::now();
                    cluster.put(survivor, &n.to_string()).await.unwrap();
                    longest = longest.max(began.elapsed());
                }
                longest
            };
            let change = replica.change_membership(remove(leaving), MemberRules::default());
            let (members, longest) = futures::join!(change, writes);
            let left: Vec<u64> = members.unwrap().iter().map(|member| member.id).collect();
            assert_eq!(left.len(), 2);
            assert!(!left.contains(&leaving));
            assert!(longest < Duration::from_millis(300), "seed {seed}: a gap of {longest:?}");
            assert_removed(&replica).await;
            replica.shutdown().await;
            cluster.check(&format!("seed {seed}")).await;
            cluster.shutdown().await;
        });
    }
}

/// With nobody ready to take over, the leader leads on until its own removal is committed.
#[test]
fn the_leader_of_two_removes_itself() {
    on_cluster(7, async {
        let mut cluster = Cluster::start(7, 2).await;
        for replica in cluster.replicas.values() {
            replica.published().await;
        }
        let leader = cluster.leader().await;
        let leaving = cluster.replicas.remove(&leader).unwrap();
        leaving.change_membership(remove(leader), LAX).await.unwrap();
        assert_removed(&leaving).await;
        leaving.shutdown().await;
        let left = 3 - leader;
        cluster.until_voters(&[left]).await;
        cluster.load("alone", 5).await;
        let last = cluster.replica(left).change_membership(remove(left), LAX).await;
        assert_eq!(last, Err(MemberChangeError::NotEnoughStarted), "somebody must be left");
        cluster.check("alone").await;
        cluster.shutdown().await;
    });
}
