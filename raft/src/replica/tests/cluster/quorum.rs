//! A leader that no quorum answers any more.

use super::membership::{add, remove};
use super::*;

impl Cluster {
    /// How many entries the log of member `id` has held.
    fn log_end(&self, id: u64) -> u64 {
        let metrics = self.replica(id).inner.metrics.borrow_watched();
        metrics.last_log_index.map_or(0, |index| index + 1)
    }

    /// Gives member `id` so many proposals at once, and waits for their answers.
    async fn rush(&self, id: u64, proposals: u64) -> Vec<Result<Revision, ProposeError>> {
        let proposals = (0..proposals).map(|n| async move {
            let answer = self.replica(id).propose(put(&format!("rush.{n}"), "v")).await;
            answer.map(|applied| applied.revision)
        });
        join_all(proposals).await
    }
}

/// Clients see of it what they see of any member without a leader, and nothing piles up in its log.
#[test]
fn a_leader_that_has_lost_its_quorum_leads_no_more() {
    for seed in 0..3 {
        on_cluster(seed, async {
            let mut cluster = Cluster::start(seed, 3).await;
            let old = cluster.leader().await;
            let term = cluster.replica(old).status().term;
            let mut changes = cluster.replica(old).leader_changes();
            assert_eq!(changes.changed().await, Some(LeaderChange::Gained(term)));
            let mut leaders = cluster.replica(old).leaders();
            assert_eq!(leaders.changed().await, Some(Some(NodeId(old))));
            let others: Vec<u64> = (1..=3).filter(|id| *id != old).collect();
            for id in &others {
                cluster.kill(*id);
            }
            let began = SimInstant::now();
            assert_eq!(changes.changed().await, Some(LeaderChange::Lost), "seed {seed}");
            assert_eq!(leaders.changed().await, Some(None), "seed {seed}");
            let took = began.elapsed();
            let (least, most) = (Duration::from_millis(900), Duration::from_millis(1_500));
            assert!(took >= least && took <= most, "seed {seed}: after {took:?}");

            let end = cluster.log_end(old);
            let read = cluster.replica(old).read_index();
            let (answers, read) = futures::join!(cluster.rush(old, 500), read);
            for answer in answers {
                assert!(matches!(answer, Err(ProposeError::NoLeader)), "seed {seed}: {answer:?}");
            }
            assert!(matches!(read, Err(ReadIndexError::TimedOut)), "seed {seed}: {read:?}");
            assert_eq!(cluster.log_end(old), end, "seed {seed}: its log has grown");
            let status = cluster.replica(old).status();
            assert_eq!((status.leader, status.is_leader), (None, false), "seed {seed}");

            for id in &others {
                cluster.boot(*id).await;
            }
            let began = SimInstant::now();
            let new = cluster.leader().await;
            assert!(began.elapsed() < Duration::from_secs(3), "seed {seed}: {:?}", began.elapsed());
            assert!(cluster.replica(new).status().term > term, "seed {seed}");
            cluster.load("again", 5).await;
            cluster.check(&format!("seed {seed}")).await;
            cluster.shutdown().await;
        });
    }
}

/// It is heard and hears nothing. As long as it is heard nobody else would come to lead.
#[test]
fn a_leader_that_is_deaf_is_replaced() {
    for seed in 0..3 {
        on_cluster(seed, async {
            let cluster = Cluster::start(seed, 3).await;
            let old = cluster.leader().await;
            let others: Vec<u64> = (1..=3).filter(|id| *id != old).collect();
            for id in &others {
                cluster.network.cut(NodeId(*id), NodeId(old));
            }
            let began = SimInstant::now();
            // What is asked of the old one first is answered by nobody.
            while cluster.replica(others[0]).status().leader.is_none_or(|leader| leader.0 == old) {
                assert!(began.elapsed() < Duration::from_secs(4), "seed {seed}: nobody else leads");
                SimRuntime::sleep(Duration::from_millis(10)).await;
            }
            for id in &others {
                cluster.put(*id, &format!("without.{id}")).await.unwrap();
            }
            let refused = cluster.replica(old).propose(put("deaf", "v")).await;
            assert!(matches!(refused, Err(ProposeError::NoLeader)), "seed {seed}: {refused:?}");
            assert!(cluster.replica(old).read_index().await.is_err());
            assert_eq!(cluster.replica(old).status().leader, None, "seed {seed}");
            cluster.network.heal();
            cluster.leader().await;
            cluster.load("healed", 5).await;
            cluster.check(&format!("seed {seed}")).await;
            cluster.shutdown().await;
        });
    }
}

/// Its second voter is lost before the entry that made it one is applied anywhere: that entry counts
/// from when it is in the log.
#[test]
fn a_lone_voter_that_has_made_another_one_vote_needs_it() {
    on_cluster(4, async {
        let mut cluster = Cluster::start(4, 1).await;
        cluster.replica(1).published().await;
        let rules = MemberRules::default();
        cluster.replica(1).change_membership(add(2, false), rules).await.unwrap();
        cluster.join(2).await;
        while cluster.voters(1) != [1, 2] {
            SimRuntime::sleep(Duration::from_micros(20)).await;
        }
        cluster.network.isolate(NodeId(2));
        assert!(cluster.replica(1).inner.progress.is_sole_voter(), "it is not applied");
        SimRuntime::sleep(Duration::from_secs(2)).await;
        let status = cluster.replica(1).status();
        assert_eq!((status.leader, status.is_leader), (None, false));
        assert!(cluster.replica(1).read_index().await.is_err());
        cluster.network.heal();
        cluster.leader().await;
        cluster.load("together", 5).await;
        cluster.check("together").await;
        let leader = cluster.leader().await;
        cluster.insist(leader, remove(3 - leader)).await;
        cluster.put(leader, "alone").await.unwrap();
        SimRuntime::sleep(Duration::from_secs(3)).await;
        assert_eq!(cluster.replica(leader).status().leader, Some(NodeId(leader)), "alone again");
        for replica in cluster.replicas.values() {
            replica.shutdown().await;
        }
    });
}

#[test]
fn a_group_that_is_idle_for_long_keeps_its_leader() {
    on_cluster(5, async {
        let cluster = Cluster::start(5, 3).await;
        let leader = cluster.leader().await;
        let term = cluster.replica(leader).status().term;
        for _ in 0..600 {
            SimRuntime::sleep(Duration::from_millis(100)).await;
            let status = cluster.replica(leader).status();
            assert!(status.is_leader && status.term == term, "{status:?}");
        }
        cluster.shutdown().await;
    });
}
