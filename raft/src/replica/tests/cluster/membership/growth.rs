//! Members come, follow as learners, vote, move to other URLs, and go again.

use super::*;

#[test]
fn a_group_grows_from_one_to_five_and_shrinks_to_one_under_writes() {
    for seed in 0..2 {
        on_cluster(seed, async {
            let mut cluster = Cluster::start(seed, 1).await;
            cluster.load("alone", 10).await;
            for id in 2..=5 {
                cluster.grow(1 + (id + seed) % (id - 1), id, &format!("grow to {id}")).await;
                cluster.check(&format!("seed {seed}, {id} members")).await;
            }
            assert_eq!(cluster.names(3), ["m1", "m2", "m3", "m4", "m5"]);
            let last = if seed == 0 { 5 } else { 1 };
            for left in (1..5).rev() {
                // Whoever leads, and asked of itself, of another, or of the leader.
                let leaving = *cluster.replicas.keys().find(|id| **id != last).unwrap();
                cluster.shrink(last, leaving, &format!("shrink to {left}")).await;
                cluster.check(&format!("seed {seed}, {left} left")).await;
            }
            assert_eq!(cluster.voters(last), [last]);
            assert!(cluster.acknowledged() > 400, "{}", cluster.acknowledged());
            cluster.shutdown().await;
        });
    }
}

/// etcd's group of one stands still from the moment a second member is added until that one runs.
#[test]
fn a_second_member_that_is_not_there_yet_stops_nobody() {
    on_cluster(1, async {
        let mut cluster = Cluster::start(1, 1).await;
        let members = cluster.change(1, add(2, false)).await.unwrap();
        assert_eq!(members.iter().map(|member| member.is_learner).collect::<Vec<_>>(), [false; 2]);
        SimRuntime::sleep(Duration::from_secs(5)).await;
        cluster.put(1, "meanwhile").await.unwrap();
        let third = cluster.change(1, add(3, false)).await;
        assert_eq!(third, Err(MemberChangeError::NotEnoughStarted));
        cluster.join(2).await;
        cluster.until_voters(&[1, 2]).await;
        assert!(!cluster.replica(2).status().is_learner);
        cluster.check("both").await;
        cluster.shutdown().await;
    });
}

#[test]
fn a_learner_follows_without_counting_until_it_is_promoted() {
    on_cluster(2, async {
        let mut cluster = Cluster::start(2, 1).await;
        cluster.change(1, add(2, true)).await.unwrap();
        cluster.load("learner is away", 20).await;
        let early = cluster.change(1, MemberChange::Promote(NodeId(2))).await;
        assert_eq!(early, Err(MemberChangeError::LearnerNotReady));
        cluster.join(2).await;
        cluster.replica(2).published().await;
        cluster.converged("learner").await;
        assert!(cluster.replica(2).status().is_learner);
        assert_eq!(cluster.voters(1), [1], "it votes only when it is promoted");
        assert_eq!(cluster.names(2), ["m1", "m2"], "a learner publishes itself");

        // By way of the learner itself.
        let members = cluster.change(2, MemberChange::Promote(NodeId(2))).await.unwrap();
        assert_eq!(members[1], Member { is_learner: false, ..member(2) });
        cluster.until_voters(&[1, 2]).await;
        assert!(!cluster.replica(2).status().is_learner);
        let again = cluster.change(1, MemberChange::Promote(NodeId(2))).await;
        assert_eq!(again, Err(MemberChangeError::NotLearner));
        cluster.check("promoted").await;
        cluster.shutdown().await;
    });
}

/// A learner answers whoever put by way of it as soon as it has applied that, which the only voter may
/// still have to: its reads must wait for it all the same.
#[test]
fn a_lone_voter_reads_what_its_learner_has_acknowledged() {
    on_cluster(12, async {
        let mut cluster = Cluster::start(12, 1).await;
        cluster.replica(1).published().await;
        cluster.change(1, add(2, true)).await.unwrap();
        cluster.join(2).await;
        cluster.replica(2).published().await;
        cluster.put(1, "before").await.unwrap();
        let engine = cluster.machines[&1].engine();
        engine.set_congested(true);
        cluster.put(2, "acknowledged").await.unwrap();
        assert_eq!(get::<Sim>(&cluster.replica(1).view(), "acknowledged"), None, "it lags");
        let read = async { cluster.replica(1).linearizable_view().await };
        let relief = async {
            SimRuntime::sleep(Duration::from_millis(300)).await;
            engine.set_congested(false);
        };
        let (view, ()) = futures::join!(read, relief);
        let found = get::<Sim>(&view.unwrap(), "acknowledged");
        assert_eq!(found.as_deref(), Some("acknowledged"));
        cluster.shutdown().await;
    });
}

#[test]
fn a_member_moves_to_other_peer_urls() {
    on_cluster(4, async {
        let mut cluster = Cluster::start(4, 3).await;
        let follower = cluster.follower().await;
        for replica in cluster.replicas.values() {
            replica.published().await;
        }
        let moved = vec!["http://elsewhere:2380".to_owned()];
        let update = MemberChange::Update { id: NodeId(follower), peer_urls: moved.clone() };
        let members = cluster.change(follower, update).await.unwrap();
        let found = members.into_iter().find(|member| member.id == follower).unwrap();
        assert_eq!(found, Member { peer_ur_ls: moved, ..member(follower) });
        cluster.kill(follower);
        cluster.boot(follower).await;
        cluster.replica(follower).published().await;
        let view = cluster.replica(follower).view();
        let known = view.members().get(NodeId(follower)).unwrap();
        assert_eq!(known.peer_ur_ls, ["http://elsewhere:2380"], "a restart does not move it back");
        cluster.check("moved").await;
        cluster.shutdown().await;
    });
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        on_cluster(seed, async {
            let mut cluster = Cluster::start(seed, 1).await;
            cluster.grow(1, 2, "two").await;
            cluster.grow(2, 3, "three").await;
            cluster.shrink(3, 1, "leave").await;
            cluster.check("run").await;
            let trace = (
                cluster.replica(2).status(),
                cluster.replica(2).view().digest(),
                cluster.network.dials(),
                SimInstant::now(),
            );
            let trace = format!("{trace:?}");
            cluster.shutdown().await;
            trace
        })
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2), "the seed decides");
}
