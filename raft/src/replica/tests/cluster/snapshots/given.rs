//! Members that were away, cut off or are new are given the state, and go on from it as from their own.

use super::super::membership::{add, remove};
use super::*;

#[test]
fn a_member_behind_the_purged_log_is_given_the_state() {
    on_cluster(1, async {
        let (mut cluster, behind) = Cluster::with_one_behind(1, 3, short_logs()).await;
        let stale = cluster.machines[&behind].engine();
        cluster.boot(behind).await;
        cluster.check("back").await;
        assert_eq!(cluster.installed(behind), 1);
        assert!(!Arc::ptr_eq(&stale, &cluster.machines[&behind].engine()));
        // It goes on from there as from its own: it applies, checkpoints, purges, leads.
        cluster.load("after", 30).await;
        cluster.purge().await;
        assert!(cluster.purged(behind) > 0);
        let leader = cluster.leader().await;
        cluster.replica(leader).transfer_leadership(NodeId(behind)).await.unwrap();
        cluster.load("led by it", 10).await;
        cluster.check("led by it").await;
        let machine = cluster.machines[&behind].clone();
        cluster.until("the replaced state gone", |_| machine.engine_count() == 1).await;
        assert_eq!(cluster.installed(behind), 1, "once was enough");
        // And it starts from it.
        for power_cut in [false, true] {
            if power_cut {
                cluster.power_cut(behind);
            } else {
                cluster.kill(behind);
            }
            cluster.boot(behind).await;
            cluster.check("again").await;
            assert_eq!(cluster.installed(behind), 0);
            assert_eq!(cluster.machines[&behind].engine_count(), 1);
        }
        cluster.shutdown().await;
    });
}

/// It runs all the while, and is only not heard of.
#[test]
fn a_member_that_was_cut_off_is_given_the_state() {
    for seed in 0..3 {
        on_cluster(seed, async {
            let cluster = Cluster::start_with(seed, 3, short_logs()).await;
            let behind = cluster.follower().await;
            cluster.load("before", 4).await;
            cluster.converged("before").await;
            let leader = cluster.leader().await;
            cluster.network.isolate(NodeId(behind));
            let tip = cluster.replica(leader).status().applied.0;
            let mut n = 0;
            while cluster.purged(leader) <= tip {
                for _ in 0..25 {
                    cluster.put(leader, &format!("without it {n}")).await.unwrap();
                    n += 1;
                }
                SimRuntime::sleep(Duration::from_millis(1_200)).await;
                assert!(n < 1_000, "the log is not purged");
            }
            cluster.network.heal();
            cluster.caught_up(behind).await;
            cluster.check(&format!("seed {seed}")).await;
            assert_eq!(cluster.installed(behind), 1, "seed {seed}");
            cluster.shutdown().await;
        });
    }
}

/// The log of an idle leader may end where it begins. Nothing is written to help.
#[test]
fn an_idle_leader_whose_log_is_purged_to_its_tip_feeds_a_new_member() {
    for catchup_entries in [0, 1] {
        on_cluster(2, async {
            let settings =
                Settings { checkpoint_entries: 5, catchup_entries, ..Settings::for_tests() };
            let mut cluster = Cluster::off(2, 3, settings);
            cluster.boot(1).await;
            cluster.boot(2).await;
            let leader = cluster.leader().await;
            cluster.load("before", 10).await;
            cluster
                .until("purged to the tip", |cluster| {
                    let applied = cluster.replica(leader).status().applied.0;
                    cluster.purged(leader) + catchup_entries == applied
                })
                .await;
            cluster.boot(3).await;
            cluster.check("all three").await;
            assert_eq!(cluster.installed(3), 1);
            cluster.shutdown().await;
        });
    }
}

/// While the state is on its way, clients of the others write, and logs are purged behind them.
#[test]
fn writes_go_on_and_the_new_member_is_not_left_behind_for_ever() {
    for seed in 0..3 {
        on_cluster(seed, async {
            let (mut cluster, behind) = Cluster::with_one_behind(seed, 3, short_logs()).await;
            for n in 0..40 {
                cluster.load(&format!("more {n}"), 5).await;
            }
            cluster.boot(behind).await;
            let before = cluster.acknowledged();
            let mut n = 0;
            while cluster.installed(behind) == 0 {
                let id = cluster.leader().await;
                cluster.put(id, &format!("meanwhile {n}")).await.unwrap();
                n += 1;
            }
            assert!(cluster.acknowledged() > before + 20, "seed {seed}: hardly anything went on");
            cluster.load("after", 20).await;
            cluster.check(&format!("seed {seed}")).await;
            assert_eq!(cluster.installed(behind), 1, "seed {seed}");
            cluster.shutdown().await;
        });
    }
}

/// Two states in quick succession: behind, given, behind again.
#[test]
fn a_member_is_given_one_state_after_another() {
    on_cluster(9, async {
        let (mut cluster, behind) = Cluster::with_one_behind(9, 3, short_logs()).await;
        for round in 0..3 {
            cluster.boot(behind).await;
            cluster.check(&format!("round {round}")).await;
            assert_eq!(cluster.installed(behind), 1, "round {round}");
            cluster.kill(behind);
            // The log is kept for a while for one that was just given a state.
            SimRuntime::sleep(Duration::from_secs(40)).await;
            cluster.purge().await;
        }
        cluster.boot(behind).await;
        cluster.check("at last").await;
        cluster.shutdown().await;
    });
}

#[test]
fn a_learner_and_a_voter_in_the_place_of_a_wiped_one_join_behind_the_purged_log() {
    on_cluster(11, async {
        let (mut cluster, wiped) = Cluster::with_one_behind(11, 3, short_logs()).await;
        let leader = cluster.leader().await;
        cluster.insist(leader, add(4, true)).await;
        cluster.join(4).await;
        cluster.caught_up(4).await;
        assert_eq!(cluster.installed(4), 1);
        cluster.check("with a learner").await;
        assert!(cluster.replica(4).status().is_learner);

        cluster.insist(leader, remove(wiped)).await;
        cluster.insist(leader, add(5, false)).await;
        cluster.join(5).await;
        let left = (1..=3).filter(|id| *id != wiped);
        cluster.until_voters(&left.chain([5]).collect::<Vec<_>>()).await;
        assert_eq!(cluster.installed(5), 1);
        cluster.load("after", 5).await;
        cluster.check("with a new voter").await;
        cluster.replica(leader).transfer_leadership(NodeId(5)).await.unwrap();
        cluster.load("led by it", 5).await;
        cluster.check("led by it").await;
        cluster.shutdown().await;
    });
}
