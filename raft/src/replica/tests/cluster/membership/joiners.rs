//! A newcomer that fails while it is filled, and one that comes back without its directory.

use super::*;
use crate::disk::sim::Fault;

/// The newcomer loses power again and again while it is filled.
#[test]
fn a_joiner_that_crashes_comes_back_and_catches_up() {
    for seed in 0..6 {
        on_cluster(seed, async {
            let mut cluster = Cluster::start(seed, 3).await;
            cluster.load("before", 30).await;
            let via = cluster.leader().await;
            cluster.insist(via, add(4, false)).await;
            cluster.join(4).await;
            for crash in 0..5 {
                let moment = Duration::from_micros(300 + 517 * (seed + 3 * crash));
                let name = format!("crash {crash}");
                let load = Box::pin(cluster.load(&name, 50));
                let _late = SimRuntime::timeout(moment, load).await;
                if (seed + crash) % 2 == 0 {
                    cluster.power_cut(4);
                } else {
                    cluster.kill(4);
                }
                cluster.boot(4).await;
            }
            cluster.until_voters(&[1, 2, 3, 4]).await;
            cluster.load("after", 5).await;
            cluster.check(&format!("seed {seed}")).await;
            cluster.shutdown().await;
        });
    }
}

/// It applies what the others have on disk while its own disk is still at its first entries, and loses
/// power: that its log is empty then is no loss.
#[test]
fn a_joiner_whose_first_entries_are_lost_begins_anew() {
    for step in 0..10 {
        on_cluster(3, async {
            let mut cluster = Cluster::start(3, 3).await;
            for replica in cluster.replicas.values() {
                replica.published().await;
            }
            let via = cluster.leader().await;
            cluster.insist(via, add(4, false)).await;
            let seed = cluster.machines[&via].random();
            let machine = Sim::on(&cluster.network, seed);
            let wal = machine.disk(&data_dir().join("member/wal"));
            cluster.machines.insert(4, machine);
            cluster.boot(4).await;
            wal.inject(Fault::Stall { at: wal.steps() + step, extra: Duration::from_secs(2) });
            SimRuntime::sleep(Duration::from_millis(500)).await;
            cluster.power_cut(4);
            cluster.boot(4).await;
            cluster.until_voters(&[1, 2, 3, 4]).await;
            cluster.check(&format!("step {step}")).await;
            cluster.shutdown().await;
        });
    }
}

/// It was given the whole state and applied more, and its log's disk fails at one of the first writes
/// after that: the state is there, and a log that is empty is no loss.
#[test]
fn a_joiner_whose_log_fails_behind_its_first_state_begins_anew() {
    for step in 0..8 {
        on_cluster(step, async {
            let settings = Settings { checkpoint_entries: 5, ..Settings::for_tests() };
            let settings = Settings { catchup_entries: 2, ..settings };
            let mut cluster = Cluster::start_with(step, 3, settings).await;
            for replica in cluster.replicas.values() {
                replica.published().await;
            }
            cluster.load("before", 10).await;
            let via = cluster.leader().await;
            cluster.insist(via, add(4, false)).await;
            let seed = cluster.machines[&via].random();
            let machine = Sim::on(&cluster.network, seed);
            let wal = machine.disk(&data_dir().join("member/wal"));
            cluster.machines.insert(4, machine);
            cluster.boot(4).await;
            wal.inject(Fault::Io { at: wal.steps() + step });
            let load = Box::pin(cluster.load("meanwhile", 40));
            let _late = SimRuntime::timeout(Duration::from_millis(500), load).await;
            cluster.kill(4);
            cluster.boot(4).await;
            cluster.until_voters(&[1, 2, 3, 4]).await;
            cluster.check(&format!("step {step}")).await;
            cluster.shutdown().await;
        });
    }
}

/// A member that joined and lost its directory is as much a stranger as a founder that did.
#[test]
fn a_wiped_joiner_is_refused_under_its_old_id() {
    on_cluster(9, async {
        let mut cluster = Cluster::start(9, 1).await;
        cluster.grow(1, 2, "two").await;
        cluster.grow(1, 3, "three").await;
        cluster.kill(3);
        cluster.join(3).await;
        let wiped = cluster.replicas.remove(&3).unwrap();
        let reason = SimRuntime::timeout(LONG, wiped.fatal()).await.unwrap();
        assert!(reason.to_string().contains("wiped"), "{reason}");
        assert_eq!(wiped.status().applied, LogIndex(0), "it was told nothing");
        wiped.shutdown().await;
        cluster.check("two").await;
        cluster.shutdown().await;
    });
}
