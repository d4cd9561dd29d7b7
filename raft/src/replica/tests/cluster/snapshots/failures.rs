//! Whoever sends or receives a state crashes, is replaced, or has no space.

use super::super::membership::add;
use super::*;
use crate::disk::sim::Fault;

/// Whoever sends goes away, a little later each time; the next leader begins anew.
#[test]
fn a_sender_that_dies_is_replaced_by_the_next_leader() {
    for step in 0..12 {
        on_cluster(step, async {
            let (mut cluster, behind) = Cluster::with_one_behind(step, 3, short_logs()).await;
            cluster.boot(behind).await;
            cluster.being_given(behind).await;
            SimRuntime::sleep(Duration::from_micros(step * 700)).await;
            let leader = cluster.leader().await;
            cluster.power_cut(leader);
            // Without the one behind there is no quorum, unless it was done already.
            SimRuntime::sleep(Duration::from_secs(3)).await;
            cluster.boot(leader).await;
            cluster.load("after", 5).await;
            cluster.check(&format!("step {step}")).await;
            cluster.shutdown().await;
        });
    }
}

/// The old leader goes on sending until it hears of the new one, which sends too.
#[test]
fn a_newer_leaders_state_takes_the_place_of_an_older_ones() {
    for step in 0..8 {
        on_cluster(step, async {
            let (mut cluster, behind) = Cluster::with_one_behind(step, 5, short_logs()).await;
            let old = cluster.leader().await;
            cluster.boot(behind).await;
            cluster.being_given(behind).await;
            SimRuntime::sleep(Duration::from_micros(step * 900)).await;
            // It reaches the one behind, and nobody else.
            let others: Vec<u64> = cluster.replicas.keys().copied().collect();
            for other in others.into_iter().filter(|other| ![old, behind].contains(other)) {
                cluster.network.cut(NodeId(old), NodeId(other));
                cluster.network.cut(NodeId(other), NodeId(old));
            }
            cluster
                .until("another leader", |cluster| {
                    let leads = |id: &u64| *id != old && cluster.replica(*id).status().is_leader;
                    cluster.replicas.keys().any(leads)
                })
                .await;
            let new = *cluster
                .replicas
                .keys()
                .find(|id| **id != old && cluster.replica(**id).status().is_leader)
                .unwrap();
            for n in 0..10 {
                cluster.put(new, &format!("under the new leader {n}")).await.unwrap();
            }
            cluster.network.heal();
            cluster.check(&format!("step {step}")).await;
            cluster.shutdown().await;
        });
    }
}

/// The receiver's power goes out at every moment, from the first chunk until long after the last.
#[test]
fn a_receiver_that_crashes_has_either_state_and_never_half_of_one() {
    let (mut given_again, mut done) = (0, 0);
    for step in 0..20 {
        on_cluster(7, async {
            let (mut cluster, behind) = Cluster::with_one_behind(7, 3, short_logs()).await;
            cluster.boot(behind).await;
            cluster.being_given(behind).await;
            SimRuntime::sleep(Duration::from_micros(step * 1_100)).await;
            if step % 2 == 0 {
                cluster.power_cut(behind);
            } else {
                cluster.kill(behind);
            }
            cluster.load("meanwhile", 2).await;
            cluster.boot(behind).await;
            let count = cluster.machines[&behind].engine_count();
            assert_eq!(count, 1, "step {step}: what was begun is gone");
            cluster.caught_up(behind).await;
            cluster.check(&format!("step {step}")).await;
            if cluster.installed(behind) == 0 {
                done += 1;
            } else {
                given_again += 1;
            }
            cluster.shutdown().await;
        });
    }
    assert!(given_again > 3 && done > 3, "{given_again} crashes before the switch, {done} after");
}

/// The power goes out within the switch, and within the purge of the log behind it: step by step of the
/// disks they are on.
#[test]
fn a_crash_between_the_switch_and_the_purge_is_recovered_from() {
    for (disk, steps) in [("", 8), ("member/wal", 8)] {
        let mut struck = 0;
        for step in 0..steps {
            on_cluster(8, async {
                let (mut cluster, behind) = Cluster::with_one_behind(8, 3, short_logs()).await;
                let leader = cluster.leader().await;
                cluster.boot(behind).await;
                cluster.being_given(behind).await;
                let dir = if disk.is_empty() { data_dir() } else { data_dir().join(disk) };
                let disk = cluster.machines[&behind].disk(&dir);
                disk.inject(Fault::PowerCut { at: disk.steps() + step });
                for n in 0..8 {
                    cluster.put(leader, &format!("meanwhile {n}")).await.unwrap();
                    SimRuntime::sleep(Duration::from_millis(250)).await;
                }
                struck += u64::from(disk.is_dark());
                cluster.power_cut(behind);
                cluster.boot(behind).await;
                cluster.caught_up(behind).await;
                cluster.check(&format!("step {step}")).await;
                cluster.shutdown().await;
            });
        }
        assert!(struck > 3, "{disk}: the power went out {struck} times only");
    }
}

/// Whoever joins has no log before the state is in use and openraft has purged up to it.
#[test]
fn a_member_that_joins_may_crash_whenever_it_likes() {
    for step in 0..14 {
        on_cluster(12, async {
            let (mut cluster, _) = Cluster::with_one_behind(12, 3, short_logs()).await;
            let leader = cluster.leader().await;
            cluster.insist(leader, add(4, true)).await;
            cluster.join(4).await;
            cluster.being_given(4).await;
            let home = cluster.machines[&4].disk(&data_dir());
            if step < 8 {
                home.inject(Fault::PowerCut { at: home.steps() + step });
                SimRuntime::sleep(Duration::from_millis(200)).await;
            } else {
                SimRuntime::sleep(Duration::from_millis((step - 8) * 5)).await;
            }
            cluster.power_cut(4);
            cluster.boot(4).await;
            cluster.caught_up(4).await;
            cluster.check(&format!("step {step}")).await;
            cluster.shutdown().await;
        });
    }
}

/// What cannot be stored is not taken, and stops nobody: the member goes on with what it has.
#[test]
fn a_receiver_without_space_keeps_its_own_state() {
    on_cluster(10, async {
        let (mut cluster, behind) = Cluster::with_one_behind(10, 3, short_logs()).await;
        cluster.boot(behind).await;
        cluster.being_given(behind).await;
        let full = cluster.machines[&behind].engine();
        full.fail_apply(2, vetch_storage::engine::mem::Fault::NoSpace);
        let machine = cluster.machines[&behind].clone();
        cluster.until("it given up", |_| machine.engine_count() == 1).await;
        assert_eq!(cluster.installed(behind), 0);
        assert!(!cluster.replica(behind).inner.stop.has_failed());
        cluster.until("the state in use", |cluster| cluster.installed(behind) == 1).await;
        cluster.check("there is space again").await;
        cluster.shutdown().await;
    });
}
