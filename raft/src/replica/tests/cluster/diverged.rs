//! A member whose state is not what its log says: found, named and stopped.
//!
//! Its engine has lost a key without a word, as case B2 has it. From the next write of that key on the
//! state is another one: the key has version 1 instead of 2.

use vetch_proto::etcdserverpb::alarm_request::AlarmAction;
use vetch_proto::etcdserverpb::{AlarmRequest, AlarmType};
use vetch_storage::alarm::AlarmKind;
use vetch_storage::testing::forget;
use vetch_storage::{ApplyError, Response};

use super::membership::{add, remove};
use super::*;

/// What the engine of the wrong member has lost.
const LOST: &str = "key that was lost";
/// A difference is to be found within so many revisions.
const WITHIN_REVISIONS: i64 = 1_000;

impl Cluster {
    /// The engine of member `id` loses the key while it is down.
    async fn lose(&mut self, id: u64) {
        self.kill(id);
        forget(&*self.machines[&id].engine(), LOST).unwrap();
        self.boot(id).await;
        self.replica(id).published().await;
        self.leader().await;
    }

    /// A group of `size` with some writes, one of whose followers has lost a key. Its id.
    async fn with_one_wrong(seed: u64, size: u64) -> (Self, u64) {
        let mut cluster = Self::start(seed, size).await;
        let leader = cluster.leader().await;
        cluster.put(leader, LOST).await.unwrap();
        cluster.load("before", 3).await;
        let wrong = cluster.follower().await;
        cluster.lose(wrong).await;
        cluster.compared("nothing was made of the loss yet").await;
        (cluster, wrong)
    }

    /// Waits until every running member knows that a quorum has its state.
    async fn compared(&self, context: &str) {
        self.converged(context).await;
        let all = |cluster: &Self| {
            let mut statuses = cluster.replicas.values().map(Replica::status);
            statuses.all(|status| status.agreed == status.applied)
        };
        self.until(&format!("compared: {context}"), all).await;
    }

    /// Some running member but this one.
    fn other_than(&self, id: u64) -> u64 {
        *self.replicas.keys().find(|other| **other != id).unwrap()
    }

    async fn write_lost_key(&self, via: u64) -> Revision {
        self.replica(via).propose(put(LOST, "again")).await.unwrap().revision
    }

    async fn until_alarmed(&self, by: u64, named: u64) {
        let what = format!("member {by} knows of {named}");
        self.until(&what, |cluster| alarms(cluster.replica(by)) == [named]).await;
    }

    /// Member `id` stops for the reason it should, and does not start again.
    async fn assert_quarantined(&mut self, id: u64) {
        let replica = self.replicas.remove(&id).unwrap();
        assert_diverged(&replica, id).await;
        replica.shutdown().await;
        drop(replica);
        let again = Replica::open(self.machines[&id].clone(), self.flags(id)).await;
        let refusal = again.expect_err("it does not start").to_string();
        for part in [format!("member {id:x}"), "/data".to_owned(), "remove this member".to_owned()]
        {
            assert!(refusal.contains(&part), "{refusal}");
        }
    }

    /// Ends the alarm, as `etcdctl alarm disarm` does.
    async fn disarm(&self, via: u64, named: u64) {
        let alarm = AlarmRequest {
            action: AlarmAction::Deactivate.into(),
            member_id: named,
            alarm: AlarmType::Corrupt.into(),
        };
        let command = Some(Command::Alarm(alarm));
        let proposal = Proposal { command, ..Proposal::default() };
        drop(self.replica(via).propose(proposal).await.unwrap());
        assert_eq!(alarms(self.replica(via)), Vec::<u64>::new());
    }

    /// How often member `id` has applied that an alarm was raised.
    fn times_raised(&self, id: u64) -> usize {
        let applied = self.observers[&id].applied.lock();
        let alarms = applied.iter().filter(|one| matches!(one.response, Ok(Response::Alarm(_))));
        alarms.count()
    }

    async fn assert_read_only(&self, via: u64) {
        let applied = self.replica(via).propose(put("refused", "")).await.unwrap();
        assert_eq!(applied.response.as_ref().err(), Some(&ApplyError::Corrupt));
        let view = self.replica(via).linearizable_view().await.unwrap();
        assert_eq!(get::<Sim>(&view, LOST).as_deref(), Some("again"));
    }
}

async fn assert_diverged(replica: &Replica<Sim>, id: u64) {
    let reason = SimRuntime::timeout(LONG, replica.fatal()).await.expect("it never stops");
    let StopReason::Diverged { divergence, data_dir } = &reason else {
        panic!("another reason: {reason}");
    };
    assert_eq!((divergence.member, data_dir.as_path()), (NodeId(id), super::data_dir().as_path()));
    assert_ne!(divergence.found, divergence.expected);
    let said = reason.to_string();
    assert!(said.contains("/data") && said.contains("remove this member"), "{said}");
}

/// Members that are named corrupt, as `replica` has applied.
fn alarms(replica: &Replica<Sim>) -> Vec<u64> {
    let view = replica.view();
    let corrupt = view.alarms().iter().filter(|(_, kind)| *kind == AlarmKind::Corrupt);
    corrupt.map(|(member, _)| member.0).collect()
}

/// Under load it is found within a bounded number of revisions; the group is read-only until the
/// operator has had a look, and then goes on without it.
#[test]
fn a_follower_that_differs_is_named_and_stops() {
    for seed in 0..3 {
        on_cluster(seed, async {
            let (mut cluster, wrong) = Cluster::with_one_wrong(seed, 3).await;
            let leader = cluster.leader().await;
            // By way of the wrong one: until it has applied that, it lags, and differs in nothing.
            let began = cluster.write_lost_key(wrong).await;
            for n in 0.. {
                let applied = cluster.replica(leader).propose(put(&format!("{n}"), "")).await;
                let applied = applied.unwrap();
                if applied.response.as_ref().err() == Some(&ApplyError::Corrupt) {
                    break;
                }
                let since = applied.revision.0 - began.0;
                assert!(since < WITHIN_REVISIONS, "seed {seed}: it stays unseen");
            }
            cluster.until_alarmed(leader, wrong).await;
            cluster.assert_quarantined(wrong).await;
            cluster.assert_read_only(leader).await;
            SimRuntime::sleep(Duration::from_secs(10)).await;
            assert_eq!(cluster.times_raised(leader), 1, "seed {seed}: said once");

            cluster.disarm(leader, wrong).await;
            SimRuntime::sleep(Duration::from_secs(10)).await;
            assert_eq!(alarms(cluster.replica(leader)), Vec::<u64>::new(), "what is over is over");
            cluster.insist(leader, remove(wrong)).await;
            cluster.insist(leader, add(4, false)).await;
            cluster.join(4).await;
            cluster.replica(4).published().await;
            cluster.load("after", 5).await;
            cluster.compared("replaced").await;
            cluster.shutdown().await;
        });
    }
}

/// Nothing else is written: no regular position comes by.
#[test]
fn a_difference_is_found_within_seconds_when_little_is_written() {
    on_cluster(4, async {
        let (mut cluster, wrong) = Cluster::with_one_wrong(4, 3).await;
        let leader = cluster.leader().await;
        cluster.write_lost_key(leader).await;
        let began = SimInstant::now();
        cluster.until_alarmed(leader, wrong).await;
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        cluster.assert_quarantined(wrong).await;
        cluster.shutdown().await;
    });
}

#[test]
fn a_leader_that_differs_is_named_and_replaced() {
    for (seed, size) in [(0, 3), (1, 5)] {
        on_cluster(seed, async {
            let (mut cluster, wrong) = Cluster::with_one_wrong(seed, size).await;
            let leader = cluster.leader().await;
            cluster.replica(leader).transfer_leadership(NodeId(wrong)).await.unwrap();
            assert_eq!(cluster.leader().await, wrong);
            cluster.write_lost_key(wrong).await;
            let witness = cluster.other_than(wrong);
            cluster.until_alarmed(witness, wrong).await;
            cluster.assert_quarantined(wrong).await;
            assert_ne!(cluster.leader().await, wrong);
            cluster.assert_read_only(witness).await;
            assert_eq!(cluster.times_raised(witness), 1, "seed {seed}");
            cluster.same_state("without it").await;
            cluster.shutdown().await;
        });
    }
}

#[test]
fn one_of_five_is_named_while_another_is_down() {
    on_cluster(2, async {
        let (mut cluster, wrong) = Cluster::with_one_wrong(2, 5).await;
        let leader = cluster.leader().await;
        let down = *cluster.replicas.keys().find(|id| ![wrong, leader].contains(id)).unwrap();
        cluster.kill(down);
        cluster.write_lost_key(leader).await;
        cluster.until_alarmed(leader, wrong).await;
        cluster.assert_quarantined(wrong).await;
        cluster.boot(down).await;
        cluster.until_alarmed(down, wrong).await;
        cluster.same_state("without it").await;
        cluster.shutdown().await;
    });
}

/// Who of two is right cannot be told: nobody is stopped, nothing is written, and "somebody" is named.
#[test]
fn of_two_that_differ_none_is_named() {
    on_cluster(3, async {
        let (cluster, wrong) = Cluster::with_one_wrong(3, 2).await;
        let leader = cluster.leader().await;
        cluster.write_lost_key(leader).await;
        for id in [leader, wrong] {
            cluster.until_alarmed(id, 0).await;
        }
        SimRuntime::sleep(Duration::from_secs(10)).await;
        for id in [leader, wrong] {
            assert_eq!(alarms(cluster.replica(id)), [0]);
            assert_eq!(cluster.times_raised(id), 1);
            cluster.assert_read_only(id).await;
        }
        cluster.shutdown().await;
    });
}

/// With one of three down, two that differ wait for its word, but not for ever; then it decides.
#[test]
fn the_third_decides_when_it_comes_back() {
    on_cluster(5, async {
        let (mut cluster, wrong) = Cluster::with_one_wrong(5, 3).await;
        let leader = cluster.leader().await;
        let down = *cluster.replicas.keys().find(|id| ![wrong, leader].contains(id)).unwrap();
        cluster.kill(down);
        cluster.write_lost_key(leader).await;
        cluster.until_alarmed(leader, 0).await;
        cluster.boot(down).await;
        let both = |cluster: &Cluster| alarms(cluster.replica(leader)) == [0, wrong];
        cluster.until("the wrong one named", both).await;
        cluster.assert_quarantined(wrong).await;
        cluster.shutdown().await;
    });
}

#[test]
fn a_learner_that_differs_is_named() {
    on_cluster(6, async {
        let mut cluster = Cluster::start(6, 3).await;
        let leader = cluster.leader().await;
        cluster.put(leader, LOST).await.unwrap();
        cluster.load("before", 3).await;
        cluster.insist(leader, add(4, true)).await;
        cluster.join(4).await;
        cluster.compared("joined").await;
        cluster.lose(4).await;
        let leader = cluster.leader().await;
        cluster.write_lost_key(leader).await;
        cluster.until_alarmed(leader, 4).await;
        cluster.assert_quarantined(4).await;
        cluster.shutdown().await;
    });
}

/// It dies before it hears of its own divergence: the next life does.
#[test]
fn a_restart_does_not_make_a_wrong_state_right() {
    for power_cut in [false, true] {
        on_cluster(7, async {
            let (mut cluster, wrong) = Cluster::with_one_wrong(7, 3).await;
            let leader = cluster.leader().await;
            cluster.write_lost_key(leader).await;
            let tip = cluster.replica(leader).status().applied;
            let applied = |cluster: &Cluster| cluster.replica(wrong).status().applied >= tip;
            cluster.until("applied", applied).await;
            assert!(alarms(cluster.replica(leader)).is_empty(), "not compared yet");
            if power_cut {
                cluster.power_cut(wrong);
            } else {
                cluster.kill(wrong);
            }
            cluster.load("without it", 20).await;
            cluster.boot(wrong).await;
            cluster.until_alarmed(leader, wrong).await;
            cluster.assert_quarantined(wrong).await;
            cluster.shutdown().await;
        });
    }
}

/// Case B3. A new member comes just when the leader's state has become wrong, before anybody has
/// noticed: what it is given fits its digest, and is refused all the same.
#[test]
fn a_leaders_wrong_state_is_not_put_in_use_by_a_new_member() {
    on_cluster(8, async {
        let settings =
            Settings { checkpoint_entries: 5, catchup_entries: 0, ..Settings::for_tests() };
        let mut cluster = Cluster::start_with(8, 3, settings).await;
        let leader = cluster.leader().await;
        cluster.put(leader, LOST).await.unwrap();
        cluster.load("before", 10).await;
        cluster.insist(leader, add(4, true)).await;
        let wrong = cluster.follower().await;
        cluster.lose(wrong).await;
        let leader = cluster.leader().await;
        cluster.replica(leader).transfer_leadership(NodeId(wrong)).await.unwrap();
        cluster.leader().await;
        cluster.load("led by it", 10).await;
        let purged = |cluster: &Cluster| {
            let metrics = cluster.replica(wrong).inner.metrics.borrow_watched().clone();
            metrics.purged.is_some_and(|purged| purged.index > 20)
        };
        cluster.until("its log does not reach back", purged).await;
        cluster.compared("equal so far").await;

        cluster.write_lost_key(wrong).await;
        let tip = cluster.replica(wrong).status().applied;
        cluster.join(4).await;
        // Another member would refuse it just so.
        let metrics = cluster.replica(wrong).inner.metrics.borrow_watched().clone();
        let sets = metrics.membership_config;
        let witness = cluster.other_than(wrong);
        let others = |cluster: &Cluster| cluster.replica(witness).status().applied >= tip;
        cluster.until("applied by the others", others).await;
        let inner = Arc::clone(&cluster.replica(4).inner);
        let vouched = inner.vouched(NodeId(wrong), tip, sets.membership()).await;
        assert!(matches!(vouched, Err(compare::Unvouched::Wrong(seen)) if seen.member.0 == wrong));
        drop(inner);

        cluster.until_alarmed(witness, wrong).await;
        cluster.assert_quarantined(wrong).await;
        cluster.until_alarmed(4, wrong).await;
        cluster.same_state("without it").await;
        assert_eq!(cluster.observers[&4].installed.lock().len(), 1, "only the right one");
        cluster.shutdown().await;
    });
}

/// What is asked of others by whoever reads everything again.
#[test]
fn the_stored_history_is_hashed_for_others_once_they_have_it() {
    on_cluster(9, async {
        let cluster = Cluster::start(9, 3).await;
        let leader = cluster.leader().await;
        cluster.load("some", 5).await;
        let other = NodeId(cluster.follower().await);
        let applied = cluster.replica(leader).propose(put("last", "")).await.unwrap();
        let (revision, index) = (applied.revision, applied.id.index);
        let replica = cluster.replica(leader);
        let ask = |revision, index| replica.hash_of(other, revision, index, LONG);
        let own = replica.view().hash_kv(revision).unwrap();
        assert_eq!(ask(revision, index).await, Ok(own));
        let unable = |asked: Result<_, NoHash>| match asked {
            Err(NoHash::Unable(why)) => why,
            asked => panic!("{asked:?}"),
        };
        let future = unable(ask(Revision(revision.0 + 1), index).await);
        assert!(future.contains("in the future"), "{future}");
        let behind = unable(ask(revision, LogIndex(index.0 + 100)).await);
        assert!(behind.contains("has not applied"), "{behind}");
        cluster.shutdown().await;
    });
}
