//! Proposals on their way to a leader that is lost.

use super::*;
use crate::replica::propose::{Attempt, encode};

/// Whoever put by way of a follower when the leader was lost waits for the next one, not for his
/// deadline, and has put once.
#[test]
fn what_a_lost_leader_was_given_is_given_to_the_next_one_unless_it_kept_it() {
    for seed in 0..12 {
        on_cluster(seed, async {
            let mut cluster = Cluster::start(seed, 3).await;
            let old = cluster.leader().await;
            let via = 1 + old % 3;
            for n in 0..5 {
                cluster.put(via, &format!("before {n}")).await.unwrap();
            }
            // From before the leader hears of it until after a quorum has it.
            let moment = Duration::from_micros(40 * seed);
            let keys: Vec<String> = (0..4).map(|n| format!("key {n}")).collect();
            let puts = join_all(keys.iter().map(|key| async {
                let began = SimInstant::now();
                (cluster.put(via, key).await, began.elapsed())
            }));
            let strike = async {
                SimRuntime::sleep(moment).await;
                if seed % 2 == 0 {
                    cluster.network.isolate(NodeId(old));
                    return None;
                }
                Some(cluster.machines[&old].power_cut(seed))
            };
            let (answers, after) = futures::join!(puts, strike);
            for (answer, took) in answers {
                assert!(answer.is_ok(), "seed {seed}: {answer:?}");
                assert!(took < Duration::from_millis(2_500), "seed {seed}: {took:?}");
            }
            if let Some(after) = after {
                cluster.replicas.remove(&old);
                cluster.machines.insert(old, after);
                cluster.boot(old).await;
            }
            cluster.network.heal();
            cluster.leader().await;
            cluster.check(&format!("seed {seed}")).await;
            cluster.shutdown().await;
        });
    }
}

/// A leader that is cut off takes proposals for the term it led in, and nobody waits for them: what
/// they would have done is done by the next leader, once.
#[test]
fn a_proposal_that_arrives_late_enters_no_later_terms_log() {
    on_cluster(3, async {
        let cluster = Cluster::start(3, 3).await;
        let old = cluster.leader().await;
        let via = 1 + old % 3;
        let term = cluster.replica(old).status().term;
        cluster.put(via, "before").await.unwrap();
        cluster.replica(old).transfer_leadership(NodeId(via)).await.unwrap();
        cluster.put(old, "between").await.unwrap();
        assert_eq!(cluster.leader().await, via);
        cluster.replica(via).transfer_leadership(NodeId(old)).await.unwrap();
        assert_eq!(cluster.leader().await, old, "it leads again, in another term");
        assert!(cluster.replica(old).status().term > term);
        let late = encode(&put("late", "late"));
        let refused =
            cluster.replica(old).inner.attempt(late, Some(term), SimInstant::now() + LONG);
        assert!(matches!(refused.await, Attempt::NotLeader));
        cluster.check("none of it").await;
        cluster.shutdown().await;
    });
}

/// Its log has lost what it was waiting for, and the state it was given instead answers nobody.
#[test]
fn who_waits_when_a_state_is_put_in_use_is_told_that_it_is_not_known() {
    on_cluster(4, async {
        let settings = Settings {
            checkpoint_entries: 20,
            catchup_entries: 2,
            request_timeout: LONG,
            ..Settings::for_tests()
        };
        let cluster = Cluster::start_with(4, 3, settings).await;
        let leader = cluster.leader().await;
        let (behind, other) = (1 + leader % 3, 1 + (leader + 1) % 3);
        cluster.put(behind, "before").await.unwrap();
        // The leader hears it, and is not heard.
        cluster.network.cut(NodeId(leader), NodeId(behind));
        cluster.network.cut(NodeId(other), NodeId(behind));
        let tip = cluster.replica(leader).status().applied.0;
        let waits = async {
            (cluster.replica(behind).propose(put("waits", "waits")).await, SimInstant::now())
        };
        let rest = async {
            for n in 0..50 {
                if cluster.purged(leader) > tip + 2 && cluster.purged(other) > tip + 2 {
                    break;
                }
                let keys = (0..30).map(|key| format!("{n}.{key}"));
                for key in keys {
                    cluster.put(leader, &key).await.unwrap();
                }
                SimRuntime::sleep(Duration::from_millis(1_200)).await;
            }
            cluster.network.heal();
            let installed = |cluster: &Cluster| cluster.installed(behind) > 0;
            cluster.until("a state in use", installed).await;
            SimInstant::now()
        };
        let ((answer, at), installed) = futures::join!(waits, rest);
        assert!(matches!(answer, Err(ProposeError::TimedOutLeaderChanged)), "{answer:?}");
        assert!(at <= installed + Duration::from_millis(10), "told {:?} later", at - installed);
        assert_eq!(get::<Sim>(&cluster.replica(behind).view(), "waits").as_deref(), Some("waits"));
        cluster.shutdown().await;
    });
}
