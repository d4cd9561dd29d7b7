//! Members so far behind that no log has what they lack: they are given the whole state.

use super::faults::storm;
use super::membership::{add, remove};
use super::*;
use crate::disk::sim::Fault;

/// Logs that end soon after a checkpoint.
fn short_logs() -> Settings {
    Settings { checkpoint_entries: 20, catchup_entries: 2, ..Settings::for_tests() }
}

impl Cluster {
    /// The last entry that member `id` has no more.
    pub(super) fn purged(&self, id: u64) -> u64 {
        let metrics = self.replica(id).inner.metrics.borrow_watched().clone();
        metrics.purged.map_or(0, |purged| purged.index)
    }

    /// States that member `id` was given in this life of its.
    pub(super) fn installed(&self, id: u64) -> usize {
        self.observers[&id].installed.lock().len()
    }

    /// Waits until the log of all running members has lost what was there when the call began.
    async fn purge(&self) {
        let leader = self.leader().await;
        let tip = self.replica(leader).status().applied.0;
        for n in 0.. {
            if self.replicas.keys().all(|id| self.purged(*id) >= tip) {
                return;
            }
            assert!(n < 60, "the logs are not purged");
            self.load(&format!("purge {tip} {n}"), 6).await;
            // An append to a member that is down keeps the log until it is given up.
            SimRuntime::sleep(Duration::from_millis(1_200)).await;
        }
    }

    /// A running group but for one member, which lacks what all logs have lost. Its id.
    async fn with_one_behind(seed: u64, size: u64, settings: Settings) -> (Self, u64) {
        let mut cluster = Self::start_with(seed, size, settings).await;
        let behind = cluster.follower().await;
        cluster.load("before", 4).await;
        cluster.check("before").await;
        cluster.kill(behind);
        cluster.purge().await;
        (cluster, behind)
    }

    /// Waits until member `id` has what is committed now. A sender whose messages go nowhere takes a
    /// while to notice.
    async fn caught_up(&self, id: u64) {
        let tip = self.replicas.values().map(|replica| replica.status().committed).max();
        self.until("caught up", |cluster| Some(cluster.replica(id).status().applied) >= tip).await;
    }

    /// Waits until member `id` is being given a state.
    async fn being_given(&self, id: u64) {
        let machine = &self.machines[&id];
        let begins = |_: &Self| machine.engine_count() > 1;
        self.until("a state on its way", begins).await;
    }
}

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
                    cluster.purged(leader) + catchup_entries + 1 == applied
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
