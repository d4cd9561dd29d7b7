//! What is refused: by the rules of the group, or because too few of its members are there.

use super::*;

#[test]
fn what_is_not_allowed_is_refused_by_every_member_alike() {
    on_cluster(3, async {
        let cluster = Cluster::start(3, 3).await;
        cluster.leader().await;
        for replica in cluster.replicas.values() {
            replica.published().await;
        }
        for via in 1..=3 {
            let refused = |change| cluster.change(via, change);
            assert_eq!(refused(add(2, false)).await, Err(MemberChangeError::IdExists));
            let url = member(3).peer_ur_ls;
            let taken = MemberChange::Add { id: NodeId(9), peer_urls: url.clone(), learner: true };
            assert_eq!(refused(taken).await, Err(MemberChangeError::PeerUrlExists));
            let taken = MemberChange::Update { id: NodeId(2), peer_urls: url };
            assert_eq!(refused(taken).await, Err(MemberChangeError::PeerUrlExists));
            let unknown = NodeId(99);
            assert_eq!(
                refused(MemberChange::Remove(unknown)).await,
                Err(MemberChangeError::NotFound)
            );
            assert_eq!(
                refused(MemberChange::Promote(unknown)).await,
                Err(MemberChangeError::NotFound)
            );
            let voter = MemberChange::Promote(NodeId(1));
            assert_eq!(refused(voter).await, Err(MemberChangeError::NotLearner));
        }
        cluster.change(1, add(4, true)).await.unwrap();
        assert_eq!(cluster.change(2, add(5, true)).await, Err(MemberChangeError::TooManyLearners));
        cluster.change(3, remove(4)).await.unwrap();
        let back = cluster.change(2, add(4, true)).await;
        assert_eq!(back, Err(MemberChangeError::NotFound), "ids never come back");
        cluster.shutdown().await;
    });
}

#[test]
fn a_change_that_would_cost_the_quorum_is_refused() {
    on_cluster(8, async {
        let mut cluster = Cluster::start(8, 3).await;
        for replica in cluster.replicas.values() {
            replica.published().await;
        }
        let down = cluster.follower().await;
        cluster.kill(down);
        let via = cluster.leader().await;
        let other = *cluster.replicas.keys().find(|id| **id != via).unwrap();
        // The two that are left would have to agree among three, or four.
        assert_eq!(cluster.change(via, add(4, false)).await, Err(MemberChangeError::Unhealthy));
        assert_eq!(cluster.change(via, remove(other)).await, Err(MemberChangeError::Unhealthy));
        cluster.change(via, add(4, true)).await.unwrap();
        cluster.change(via, remove(down)).await.unwrap();
        cluster.check("two left").await;
        cluster.shutdown().await;
    });
}

/// Whether the others are there is asked after the change was, in whatever way one of them is lost:
/// who was heard from a moment ago may be gone.
#[test]
fn a_member_lost_a_moment_ago_does_not_count() {
    for silent in [false, true] {
        on_cluster(11, async {
            let mut cluster = Cluster::start(11, 5).await;
            for replica in cluster.replicas.values() {
                replica.published().await;
            }
            let via = cluster.leader().await;
            let others: Vec<u64> = (1..=5).filter(|id| *id != via).collect();
            for lost in &others[..2] {
                if silent {
                    cluster.network.isolate(NodeId(*lost));
                } else {
                    cluster.kill(*lost);
                }
            }
            for change in [remove(others[2]), remove(others[3]), remove(via), add(6, false)] {
                let began = SimInstant::now();
                let refused = cluster.change(via, change.clone()).await;
                assert_eq!(refused, Err(MemberChangeError::Unhealthy), "{change:?}");
                let took = began.elapsed();
                assert!(took < Duration::from_millis(600), "{change:?} is refused after {took:?}");
            }
            cluster.put(via, "goes on").await.unwrap();
            let began = SimInstant::now();
            cluster.change(via, remove(others[0])).await.unwrap();
            let took = began.elapsed();
            assert!(
                took < Duration::from_millis(50),
                "a quorum of the rest answers within {took:?}"
            );
            cluster.put(via, "goes on without it").await.unwrap();
            cluster.network.heal();
            for replica in cluster.replicas.values() {
                replica.shutdown().await;
            }
        });
    }
}
