//! Crashes, torn logs and a network that loses, delays, reorders and doubles.

use super::*;
use crate::disk::sim::Fault;

/// A network as bad as one that still works.
pub(super) fn storm() -> Weather {
    Weather {
        delay: (Duration::from_micros(50), Duration::from_millis(40)),
        lost: 30,
        doubled: 100,
    }
}

#[test]
fn a_leaders_crash_costs_a_short_pause_and_nothing_acknowledged() {
    for seed in 0..3 {
        on_cluster(seed, async {
            let mut cluster = Cluster::start(seed, 3).await;
            let old = cluster.leader().await;
            cluster.load("before", 10).await;
            cluster.power_cut(old);
            let began = SimInstant::now();
            let survivor = *cluster.replicas.keys().next().unwrap();
            cluster.put(survivor, "first").await.unwrap();
            let pause = began.elapsed();
            assert!(pause < Duration::from_millis(2_500), "seed {seed}: a pause of {pause:?}");
            assert_ne!(cluster.leader().await, old);
            cluster.load("without", 10).await;
            cluster.check(&format!("seed {seed}, one down")).await;
            cluster.boot(old).await;
            cluster.check(&format!("seed {seed}, back")).await;
            assert_eq!(cluster.acknowledged(), 60 + 1 + 40);
            cluster.shutdown().await;
        });
    }
}

/// Clients see errors at most; what they were told stays true.
#[test]
fn a_leader_dies_under_load() {
    for seed in 0..4 {
        on_cluster(seed, async {
            let mut cluster = Cluster::start(seed, 3).await;
            let old = cluster.leader().await;
            {
                let load = Box::pin(cluster.load("load", 2_000));
                let moment = Duration::from_micros(10_000 + 1_733 * seed);
                assert!(SimRuntime::timeout(moment, load).await.is_err());
            }
            let before = cluster.acknowledged();
            assert!(before > 20, "seed {seed}: {before}");
            if seed % 2 == 0 {
                cluster.power_cut(old);
            } else {
                cluster.kill(old);
            }
            cluster.load("after", 10).await;
            cluster.check(&format!("seed {seed}")).await;
            cluster.boot(old).await;
            cluster.check(&format!("seed {seed}, back")).await;
            cluster.shutdown().await;
        });
    }
}

#[test]
fn a_follower_that_was_away_catches_up() {
    on_cluster(5, async {
        let mut cluster = Cluster::start(5, 3).await;
        let follower = cluster.follower().await;
        cluster.kill(follower);
        cluster.load("away", 25).await;
        cluster.boot(follower).await;
        cluster.check("back").await;
        assert_eq!(cluster.acknowledged(), 100);
        cluster.shutdown().await;
    });
}

/// Round trips that take longer than a heartbeat's interval, with etcd's defaults of 100 ms and a second:
/// nobody is elected, and writes and reads go on.
#[test]
fn a_slow_network_keeps_its_leader() {
    for round_trip in [85, 120, 200] {
        on_cluster(8, async {
            let cluster = Cluster::start(8, 3).await;
            let leader = cluster.leader().await;
            let term = cluster.replica(leader).status().term;
            let one_way = Duration::from_millis(round_trip / 2);
            let delay = (one_way, one_way + Duration::from_millis(2));
            cluster.network.set_weather(Weather { delay, ..Weather::default() });
            for sample in 0..200 {
                SimRuntime::sleep(Duration::from_millis(50)).await;
                let status = cluster.replica(leader).status();
                let context = format!("{round_trip} ms, sample {sample}: {status:?}");
                assert!(status.is_leader && status.term == term, "{context}");
                assert_eq!(status.leader, Some(NodeId(leader)), "{context}");
            }
            let longest = Duration::from_millis(5 * round_trip);
            for (id, replica) in &cluster.replicas {
                let began = SimInstant::now();
                replica.linearizable_view().await.unwrap();
                let took = began.elapsed();
                assert!(took < longest, "{round_trip} ms: member {id} reads in {took:?}");
                let began = SimInstant::now();
                cluster.put(*id, &format!("slow.{id}")).await.unwrap();
                let took = began.elapsed();
                assert!(took < longest, "{round_trip} ms: member {id} writes in {took:?}");
            }
            cluster.load("slow", 3).await;
            assert_eq!(cluster.acknowledged(), 3 + 18);
            cluster.check("slow").await;
            assert_eq!(cluster.replica(leader).status().term, term, "{round_trip} ms");
            cluster.shutdown().await;
        });
    }
}

/// Elections, too, end on such a network.
#[test]
fn a_slow_network_elects_a_leader() {
    for round_trip in [120, 200] {
        on_cluster(9, async {
            let mut cluster = Cluster::off(9, 3, Settings::for_tests());
            let one_way = Duration::from_millis(round_trip / 2);
            let delay = (one_way, one_way + Duration::from_millis(2));
            cluster.network.set_weather(Weather { delay, ..Weather::default() });
            for id in 1..=3 {
                cluster.boot(id).await;
            }
            let old = cluster.leader().await;
            cluster.power_cut(old);
            let began = SimInstant::now();
            let survivor = *cluster.replicas.keys().next().unwrap();
            cluster.put(survivor, "first").await.unwrap();
            let pause = began.elapsed();
            assert!(pause < Duration::from_secs(5), "{round_trip} ms: a pause of {pause:?}");
            cluster.boot(old).await;
            cluster.check("back").await;
            cluster.shutdown().await;
        });
    }
}

/// The power goes out in the middle of a follower's write, at each step in turn: whatever of it is
/// torn, the member comes back and catches up.
#[test]
fn a_torn_log_of_one_member_is_mended_by_the_others() {
    for step in 0..12 {
        on_cluster(6, async {
            let mut cluster = Cluster::start(6, 3).await;
            let follower = cluster.follower().await;
            let wal = cluster.machines[&follower].disk(&data_dir().join("member/wal"));
            wal.inject(Fault::PowerCut { at: wal.steps() + step });
            cluster.load("torn", 6).await;
            assert!(wal.is_dark(), "step {step}: the fault struck");
            cluster.power_cut(follower);
            cluster.load("without", 5).await;
            cluster.boot(follower).await;
            cluster.check(&format!("step {step}")).await;
            cluster.shutdown().await;
        });
    }
}

/// A disk error on the leader ends that member; the others go on.
#[test]
fn a_leader_whose_disk_fails_is_replaced() {
    on_cluster(7, async {
        let mut cluster = Cluster::start(7, 3).await;
        let leader = cluster.leader().await;
        let wal = cluster.machines[&leader].disk(&data_dir().join("member/wal"));
        wal.inject(Fault::Io { at: wal.steps() + 3 });
        cluster.load("load", 10).await;
        let fatal = SimRuntime::timeout(LONG, cluster.replica(leader).fatal()).await.unwrap();
        assert!(matches!(fatal, StopReason::Failed(Fatal::Io { .. })), "{fatal}");
        cluster.replicas.remove(&leader).unwrap().shutdown().await;
        cluster.load("without", 10).await;
        cluster.check("without").await;
        cluster.shutdown().await;
    });
}

/// A follower applies what the others have on disk before its own write ends, and checkpoints it; then
/// its power goes out. Its log begins anew behind its engine.
#[test]
fn a_member_whose_log_lost_what_its_engine_has_starts() {
    on_cluster(8, async {
        let settings = Settings { checkpoint_entries: 1, ..Settings::for_tests() };
        let mut cluster = Cluster::start_with(8, 3, settings).await;
        let follower = cluster.follower().await;
        let machine = cluster.machines[&follower].clone();
        let wal = machine.disk(&data_dir().join("member/wal"));
        let extra = Duration::from_secs(20);
        wal.inject(Fault::Stall { at: wal.steps() + 1, extra });
        let before = machine.engine().durable_applied();
        let leader = cluster.leader().await;
        for n in 0..10 {
            cluster.put(leader, &format!("{n}")).await.unwrap();
        }
        cluster
            .until("a checkpoint ahead of the log", |_| {
                machine.engine().durable_applied() > LogIndex(before.0 + 5)
            })
            .await;
        cluster.power_cut(follower);
        cluster.boot(follower).await;
        cluster.check("back").await;
        // What was purged with it must be on disk: the next power cut finds it.
        cluster.power_cut(follower);
        cluster.boot(follower).await;
        cluster.check("back again").await;
        cluster.shutdown().await;
    });
}

/// Whoever asks in a loop is told at once, and does not ask again.
#[test]
fn a_member_that_stops_says_so_to_whoever_asks_the_leader() {
    on_cluster(10, async {
        let mut cluster = Cluster::start(10, 3).await;
        let follower = cluster.follower().await;
        let wal = cluster.machines[&follower].disk(&data_dir().join("member/wal"));
        wal.inject(Fault::Io { at: wal.steps() });
        cluster.load("load", 3).await;
        let stopped = cluster.replicas.remove(&follower).unwrap();
        drop(SimRuntime::timeout(LONG, stopped.fatal()).await.unwrap());
        let at_once = Duration::from_millis(1);
        let asked = Box::pin(stopped.ask_leader(Bytes::new(), LONG));
        let told = SimRuntime::timeout(at_once, asked).await.unwrap();
        assert_eq!(told, Err(NoAnswer::Stopped));
        stopped.shutdown().await;

        // Asked before it stops, while nobody leads.
        let waits = cluster.leader().await;
        let other = *cluster.replicas.keys().find(|id| **id != waits).unwrap();
        cluster.kill(other);
        let within = Duration::from_secs(2);
        let alone = cluster.replica(waits).ask_leader(Bytes::new(), within).await;
        assert_eq!(alone, Err(NoAnswer::NoLeader), "it leads itself, as far as it knows");
        let asked = cluster.replica(waits).ask_leader(Bytes::new(), LONG);
        let stops = async {
            SimRuntime::sleep(within).await;
            let began = SimInstant::now();
            cluster.replica(waits).shutdown().await;
            began
        };
        let told = async { (asked.await, SimInstant::now()) };
        let ((told, at), began) = futures::join!(told, stops);
        assert_eq!(told, Err(NoAnswer::Stopped));
        assert!(at <= began + at_once, "{:?} after the stop began", at - began);
        cluster.shutdown().await;
    });
}

#[test]
fn loss_reordering_and_doubling_lose_and_double_nothing() {
    let mut acknowledged = 0;
    for seed in 0..4 {
        on_cluster(seed, async {
            let cluster = Cluster::start(seed, 3).await;
            cluster.network.set_weather(storm());
            cluster.load("storm", 15).await;
            cluster.network.set_weather(Weather::default());
            cluster.leader().await;
            cluster.check(&format!("seed {seed}")).await;
            acknowledged += cluster.acknowledged();
            cluster.shutdown().await;
        });
    }
    assert!(acknowledged > 200, "only {acknowledged} puts: too stormy to tell");
}

/// Members die and come back, one at a time, in bad weather.
#[test]
fn rolling_crashes_in_a_storm() {
    for seed in 0..2 {
        on_cluster(seed, async {
            let settings = Settings { checkpoint_entries: 20, ..Settings::for_tests() };
            let mut cluster = Cluster::start_with(seed, 3, settings).await;
            cluster.leader().await;
            for (round, id) in [1, 2, 3, 1, 2, 3].into_iter().enumerate() {
                cluster.network.set_weather(storm());
                let name = round.to_string();
                let load = Box::pin(cluster.load(&name, 50));
                let _ended = SimRuntime::timeout(Duration::from_millis(700), load).await;
                if (seed + id) % 2 == 0 {
                    cluster.power_cut(id);
                } else {
                    cluster.kill(id);
                }
                cluster.load(&format!("{round}, without {id}"), 2).await;
                cluster.boot(id).await;
                cluster.network.set_weather(Weather::default());
                cluster.check(&format!("seed {seed}, round {round}")).await;
            }
            assert!(cluster.acknowledged() > 60, "seed {seed}: {}", cluster.acknowledged());
            cluster.shutdown().await;
        });
    }
}

/// openraft alpha.37 tries a refused peer again at once; a member that is down for seconds must not
/// cost a core of its leader.
#[test]
fn a_member_that_is_down_is_not_dialled_in_a_hot_loop() {
    on_cluster(8, async {
        let mut cluster = Cluster::start(8, 3).await;
        let follower = cluster.follower().await;
        cluster.kill(follower);
        cluster.leader().await;
        // Something to send: without it nobody is dialled but for heartbeats.
        cluster.load("pending", 1).await;
        let before = cluster.network.dials();
        SimRuntime::sleep(Duration::from_secs(10)).await;
        let idle = cluster.network.dials() - before;
        // Ten seconds of heartbeats to two peers, and of one attempt per pause to the one that is down.
        assert!(idle < 600, "{idle} dials in ten idle seconds");
        let before = cluster.network.dials();
        cluster.load("busy", 100).await;
        let busy = cluster.network.dials() - before;
        assert!(busy < 600, "{busy} dials for 400 puts");
        cluster.boot(follower).await;
        cluster.check("back").await;
        cluster.shutdown().await;
    });
}
