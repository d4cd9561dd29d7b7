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
