//! Changes that meet other changes, the end of a leader, or a storm.

use super::super::faults::storm;
use super::*;

/// All members are asked for changes at once: each is made once or refused with the reason, and all
/// tables are alike.
#[test]
fn concurrent_changes_are_made_one_after_another() {
    for seed in 0..4 {
        on_cluster(seed, async {
            let cluster = Cluster::start(seed, 3).await;
            cluster.leader().await;
            for replica in cluster.replicas.values() {
                replica.published().await;
            }
            let rules = MemberRules { strict: true, max_learners: 2 };
            let learners = (1..=3_u64).flat_map(|via| [(via, 10 + via), (via, 20)]);
            let asked = learners.map(|(via, id)| {
                let replica = cluster.replica(via);
                async move { replica.change_membership(add(id, true), rules).await }
            });
            let (answers, ()) = futures::join!(join_all(asked), cluster.load("load", 20));
            let added = answers.iter().filter(|answer| answer.is_ok()).count();
            assert_eq!(added, 2, "seed {seed}: {answers:?}");
            for answer in answers.iter().filter_map(|answer| answer.as_ref().err()) {
                let expected = [MemberChangeError::TooManyLearners, MemberChangeError::IdExists];
                assert!(expected.contains(answer), "seed {seed}: {answer}");
            }
            cluster.check(&format!("seed {seed}")).await;
            let tables: Vec<_> = cluster
                .replicas
                .values()
                .map(|replica| replica.view().members().iter().cloned().collect::<Vec<_>>())
                .collect();
            assert_eq!(tables[0].len(), 5);
            assert!(tables.iter().all(|table| *table == tables[0]), "seed {seed}");
            cluster.shutdown().await;
        });
    }
}

/// The leader loses power, or its network, at some moment of a change that was asked of another.
#[test]
fn a_leader_that_dies_in_a_change_leaves_it_made_or_not_made() {
    for seed in 0..12 {
        on_cluster(seed, async {
            let mut cluster = Cluster::start(seed, 3).await;
            for replica in cluster.replicas.values() {
                replica.published().await;
            }
            let leader = cluster.leader().await;
            let via = 1 + leader % 3;
            let moment = Duration::from_micros(100 + 173 * seed);
            let changed = {
                let change = Box::pin(cluster.change(via, add(4, false)));
                let strike = async {
                    SimRuntime::sleep(moment).await;
                    if seed % 2 == 0 {
                        return Some(cluster.machines[&leader].power_cut(seed));
                    }
                    cluster.network.isolate(NodeId(leader));
                    None
                };
                futures::join!(change, strike)
            };
            let (changed, after) = changed;
            if let Some(after) = after {
                cluster.replicas.remove(&leader);
                cluster.machines.insert(leader, after);
            }
            if changed.is_ok() {
                let view = cluster.replica(via).linearizable_view().await.unwrap();
                assert!(shows(&view, &add(4, false)), "seed {seed}: answered, and not there");
            }
            cluster.network.heal();
            if seed % 2 == 0 {
                cluster.boot(leader).await;
            }
            cluster.insist(via, add(4, false)).await;
            cluster.join(4).await;
            cluster.until_voters(&[1, 2, 3, 4]).await;
            cluster.load("after", 5).await;
            cluster.check(&format!("seed {seed}: {changed:?}")).await;
            cluster.shutdown().await;
        });
    }
}

#[test]
fn changes_in_a_storm() {
    for seed in 0..3 {
        on_cluster(seed, async {
            let mut cluster = Cluster::start(seed, 3).await;
            for replica in cluster.replicas.values() {
                replica.published().await;
            }
            cluster.network.set_weather(storm());
            for (round, id) in (4..8).enumerate() {
                let via = *cluster.replicas.keys().nth(round % 3).unwrap();
                let name = format!("+{id}");
                futures::join!(cluster.insist(via, add(id, false)), cluster.load(&name, 5));
                cluster.join(id).await;
                let joined = |cluster: &Cluster| cluster.voters(via).contains(&id);
                cluster.until("the newcomer votes", joined).await;
                let oldest = *cluster.replicas.keys().find(|oldest| **oldest != via).unwrap();
                let leaving = cluster.replicas.remove(&oldest).unwrap();
                cluster.insist(via, remove(oldest)).await;
                assert_removed(&leaving).await;
                leaving.shutdown().await;
            }
            cluster.network.set_weather(Weather::default());
            cluster.leader().await;
            cluster.check(&format!("seed {seed}")).await;
            assert_eq!(cluster.replicas.len(), 3);
            cluster.shutdown().await;
        });
    }
}
