//! A state on a slow, broken, damaging or stormy network.

use super::super::faults::storm;
use super::*;

#[test]
fn heartbeats_go_on_while_a_state_is_sent() {
    on_cluster(4, async {
        let (mut cluster, behind) = Cluster::with_one_behind(4, 3, short_logs()).await;
        let term = cluster.replica(cluster.leader().await).status().term;
        // A slow network: the state takes many election timeouts.
        let delay = (Duration::from_millis(20), Duration::from_millis(30));
        cluster.network.set_weather(Weather { delay, ..Weather::default() });
        cluster.boot(behind).await;
        cluster.being_given(behind).await;
        let began = SimInstant::now();
        cluster.until("the state in use", |cluster| cluster.installed(behind) == 1).await;
        assert!(began.elapsed() > Duration::from_secs(1), "{:?}", began.elapsed());
        cluster.check("slow").await;
        assert_eq!(cluster.replica(behind).status().term, term, "nobody campaigned");
        cluster.shutdown().await;
    });
}

/// Between the leader's look at its state and the peer's first answer comes more than the log keeps.
#[test]
fn an_answer_that_takes_long_does_not_cost_a_second_state() {
    for seed in 0..4 {
        on_cluster(seed, async {
            let (mut cluster, behind) = Cluster::with_one_behind(seed, 3, short_logs()).await;
            let leader = cluster.leader().await;
            let delay = (Duration::from_millis(20), Duration::from_millis(30));
            cluster.network.set_weather(Weather { delay, ..Weather::default() });
            cluster.boot(behind).await;
            for n in 0.. {
                if cluster.installed(behind) > 0 {
                    break;
                }
                let keys: Vec<_> = (0..30).map(|m| format!("meanwhile {n} {m}")).collect();
                for put in join_all(keys.iter().map(|key| cluster.put(leader, key))).await {
                    put.unwrap();
                }
            }
            cluster.network.set_weather(Weather::default());
            cluster.check(&format!("seed {seed}")).await;
            assert_eq!(cluster.installed(behind), 1, "seed {seed}");
            cluster.shutdown().await;
        });
    }
}

#[test]
fn a_broken_connection_costs_no_more_than_the_chunk_on_it() {
    on_cluster(5, async {
        let (mut cluster, behind) = Cluster::with_one_behind(5, 3, short_logs()).await;
        cluster.boot(behind).await;
        cluster.being_given(behind).await;
        let received = cluster.machines[&behind].engine();
        let leader = NodeId(cluster.leader().await);
        for _ in 0..3 {
            cluster.network.cut(leader, NodeId(behind));
            SimRuntime::sleep(Duration::from_millis(600)).await;
            cluster.network.heal();
            SimRuntime::sleep(Duration::from_millis(1)).await;
        }
        cluster.check("back").await;
        let in_use = cluster.machines[&behind].engine();
        assert!(Arc::ptr_eq(&received, &in_use), "begun anew");
        cluster.shutdown().await;
    });
}

#[test]
fn chunks_that_arrive_damaged_are_sent_again() {
    for seed in 0..4 {
        on_cluster(seed, async {
            let (mut cluster, behind) = Cluster::with_one_behind(seed, 3, short_logs()).await;
            cluster.network.damage_chunks(400);
            cluster.boot(behind).await;
            cluster.check(&format!("seed {seed}")).await;
            assert_eq!(cluster.installed(behind), 1, "seed {seed}");
            cluster.shutdown().await;
        });
    }
}

#[test]
fn a_network_that_always_damages_leaves_the_member_as_it_is() {
    on_cluster(6, async {
        let (mut cluster, behind) = Cluster::with_one_behind(6, 3, short_logs()).await;
        cluster.network.damage_chunks(1000);
        cluster.boot(behind).await;
        let before = cluster.replica(behind).status().applied;
        SimRuntime::sleep(Duration::from_mins(1)).await;
        assert_eq!(cluster.replica(behind).status().applied, before);
        assert_eq!(cluster.installed(behind), 0);
        cluster.network.damage_chunks(0);
        cluster.check("mended").await;
        cluster.shutdown().await;
    });
}

#[test]
fn states_arrive_in_a_storm() {
    for seed in 0..4 {
        on_cluster(seed, async {
            let (mut cluster, behind) = Cluster::with_one_behind(seed, 3, short_logs()).await;
            cluster.network.set_weather(storm());
            cluster.network.damage_chunks(50);
            cluster.boot(behind).await;
            cluster.load("storm", 10).await;
            cluster.until("the state in use", |cluster| cluster.installed(behind) > 0).await;
            cluster.network.set_weather(Weather::default());
            cluster.check(&format!("seed {seed}")).await;
            cluster.shutdown().await;
        });
    }
}
