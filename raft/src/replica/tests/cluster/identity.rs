//! Members that are not who they say they are.

use super::*;

/// A member whose data directory is gone may have forgotten its vote: no peer deals with it under its
/// old id, and it neither votes nor serves: it stops with the reason.
#[test]
fn a_wiped_member_is_refused() {
    on_cluster(1, async {
        let mut cluster = Cluster::start(1, 3).await;
        let follower = cluster.follower().await;
        cluster.load("before", 5).await;
        cluster.kill(follower);
        cluster.machines.insert(follower, Sim::on(&cluster.network, 77));
        cluster.boot(follower).await;
        let wiped = cluster.replicas.remove(&follower).unwrap();
        cluster.load("after", 5).await;
        cluster.check("two go on").await;
        let fatal = SimRuntime::timeout(LONG, wiped.fatal()).await.unwrap();
        assert!(fatal.to_string().contains("wiped"), "{fatal}");
        assert_eq!(wiped.status().applied, LogIndex(0), "it was told nothing");
        assert_eq!(wiped.status().leader, None);

        // Its vote is worth nothing either: with one real member left there is no quorum.
        let gone = cluster.leader().await;
        cluster.kill(gone);
        let left = *cluster.replicas.keys().next().unwrap();
        let refused = cluster.replica(left).propose(put("k", "v")).await;
        assert!(refused.is_err(), "{refused:?}");
        assert_eq!(cluster.replica(left).status().leader, None);
        wiped.shutdown().await;
        cluster.shutdown().await;
    });
}

/// Two followers, which the log gives no reason to talk. One of them loses its disks; the leader, the
/// only one who had the entries that the other acknowledged, is away when it comes back.
#[test]
fn a_wiped_member_is_known_to_those_who_never_needed_it() {
    for seed in 0..4 {
        on_cluster(seed, async {
            let mut cluster = Cluster::start(seed, 3).await;
            let leader = cluster.leader().await;
            let followers: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
            let (wiped, left) = (followers[0], followers[1]);
            let met = |cluster: &Cluster| {
                let roster = |id: u64| &cluster.replica(id).inner.peers.roster;
                (1..=3)
                    .all(|id| (1..=3).all(|other| id == other || roster(id).has_met(NodeId(other))))
            };
            cluster.until("all have met", met).await;
            cluster.network.isolate(NodeId(left));
            cluster.load("without it", 5).await;
            assert!(cluster.acknowledged() > 0);
            cluster.kill(wiped);
            cluster.kill(leader);
            cluster.network.heal();
            cluster.machines.insert(wiped, Sim::on(&cluster.network, 77));
            cluster.boot(wiped).await;
            let told = SimRuntime::timeout(LONG, cluster.replica(wiped).fatal()).await.unwrap();
            assert!(told.to_string().contains("wiped"), "seed {seed}: {told}");
            assert_eq!(cluster.replica(left).status().leader, None, "seed {seed}");
            cluster.replicas.remove(&wiped).unwrap().shutdown().await;
            cluster.boot(leader).await;
            cluster.check(&format!("seed {seed}")).await;
            cluster.shutdown().await;
        });
    }
}

#[test]
fn a_member_of_another_cluster_is_refused() {
    on_cluster(2, async {
        let mut cluster = Cluster::start(2, 3).await;
        let follower = cluster.follower().await;
        cluster.kill(follower);
        let stranger = Sim::on(&cluster.network, 78);
        let flags = Start { cluster: ClusterId(99), ..cluster.flags(follower) };
        let stranger = Replica::open(stranger, flags).await.unwrap();
        cluster.load("two", 5).await;
        assert_eq!(stranger.status().applied, LogIndex(0));
        cluster.check("two").await;
        stranger.shutdown().await;
        cluster.shutdown().await;
    });
}

#[test]
fn initial_members_need_ids_of_their_own() {
    on_cluster(3, async {
        let network = SimNetwork::new(3);
        let mut flags: Start<Sim> = start(&data_dir(), Settings::for_tests());
        flags.peers = vec![member(7)];
        let refused = Replica::open(Sim::on(&network, 1), flags).await;
        assert!(matches!(refused, Err(OpenError::Settings(_))), "{:?}", refused.err());
    });
}
