//! Elections, writes and reads when nothing goes wrong.

use super::*;

#[test]
fn three_members_elect_one_leader_and_know_each_other() {
    on_cluster(1, async {
        let cluster = Cluster::start(1, 3).await;
        let began = SimInstant::now();
        let leader = cluster.leader().await;
        assert!(began.elapsed() < Duration::from_secs(2), "took {:?}", began.elapsed());
        for (id, replica) in &cluster.replicas {
            replica.published().await;
            let status = replica.status();
            assert_eq!(status.is_leader, *id == leader);
            assert_eq!(status.leader, Some(NodeId(leader)));
        }
        cluster
            .until("members known", |cluster| {
                let knows_all = |replica: &Replica<Sim>| {
                    let view = replica.view();
                    (1..=3).all(|id| view.members().get(NodeId(id)) == Some(&member(id)))
                };
                cluster.replicas.values().all(knows_all)
            })
            .await;
        cluster.converged("after the start").await;
        for replica in cluster.replicas.values() {
            assert_eq!(replica.view().revision(), Revision::EMPTY_STORE);
        }
        cluster.shutdown().await;
    });
}

#[test]
fn every_member_takes_writes_and_shows_them_to_its_own_clients_at_once() {
    on_cluster(2, async {
        let cluster = Cluster::start(2, 3).await;
        cluster.leader().await;
        for round in 0..20 {
            for id in 1..=3 {
                let key = format!("{round}.{id}");
                cluster.put(id, &key).await.unwrap();
                // Local, without asking anybody: the member answers from what it applied itself.
                assert_eq!(get::<Sim>(&cluster.replica(id).view(), &key), Some(key.clone()));
                let other = cluster.replica(1 + id % 3).linearizable_view().await.unwrap();
                assert_eq!(get::<Sim>(&other, &key), Some(key));
            }
        }
        cluster.load("load", 20).await;
        assert_eq!(cluster.acknowledged(), 180, "nothing fails in a calm network");
        cluster.check("calm").await;
        assert!(cluster.replicas.values().all(|replica| replica.status().pending == 0));
        cluster.shutdown().await;
    });
}

/// Readers that wait together share rounds, on followers as on the leader.
#[test]
fn reads_of_a_follower_share_questions_to_the_leader() {
    on_cluster(3, async {
        let cluster = Cluster::start(3, 3).await;
        let follower = cluster.follower().await;
        cluster.put(follower, "k").await.unwrap();
        let before = cluster.network.dials();
        let reads = (0..500).map(|_| cluster.replica(follower).read_index());
        let indexes = join_all(reads).await;
        let dials = cluster.network.dials() - before;
        let applied = cluster.replica(follower).status().applied;
        assert!(indexes.into_iter().all(|index| index.unwrap() >= applied));
        assert!(dials < 20, "{dials} messages for reads that came together");
        cluster.shutdown().await;
    });
}

#[test]
fn five_members_and_a_restart_of_all() {
    on_cluster(4, async {
        let mut cluster = Cluster::start(4, 5).await;
        cluster.leader().await;
        cluster.load("before", 10).await;
        cluster.check("before").await;
        for id in 1..=5 {
            cluster.power_cut(id);
        }
        for id in 1..=5 {
            cluster.boot(id).await;
        }
        cluster.leader().await;
        cluster.load("after", 10).await;
        cluster.check("after").await;
        assert_eq!(cluster.acknowledged(), 200);
        cluster.shutdown().await;
    });
}

/// The same seed gives the same run, event by event.
#[test]
fn a_seed_replays_a_cluster_exactly() {
    let trace = |seed: u64| {
        let mut runtime = SimRuntime::with_seed(seed);
        runtime.record_trace(true);
        runtime.block_on(async {
            let mut cluster = Cluster::start(seed, 3).await;
            cluster.network.set_weather(faults::storm());
            cluster.leader().await;
            cluster.load("a", 5).await;
            let leader = cluster.leader().await;
            cluster.power_cut(leader);
            cluster.load("b", 5).await;
            cluster.boot(leader).await;
            cluster.network.set_weather(Weather::default());
            cluster.check("replay").await;
            cluster.shutdown().await;
        });
        runtime.take_trace()
    };
    let first = trace(9);
    assert!(first.len() > 1_000, "{} events", first.len());
    assert!(first == trace(9), "a seed's second run differs");
    assert!(first != trace(10), "the seed has no effect");
}
