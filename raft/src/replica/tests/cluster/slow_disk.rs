//! Disks that stall under the log.

use vetch_proto::vetchpb::append_reply::Outcome;
use vetch_proto::vetchpb::peer_reply::Reply;
use vetch_proto::vetchpb::peer_request::Request;
use vetch_proto::vetchpb::{LogPosition, PeerReply, PeerRequest};

use super::*;
use crate::disk::sim::Fault;
use crate::replica::service::Service;
use crate::transport::{PeerService, wire};
use crate::types::rpc::AppendEntriesRequest;

impl Cluster {
    /// The next write of this member's log takes so much longer.
    fn stall(&self, id: u64, extra: Duration) {
        let wal = self.machines[&id].disk(&data_dir().join("member/wal"));
        wal.inject(Fault::Stall { at: wal.steps() + 1, extra });
    }

    /// Puts and reads by way of `via`, one after another for this time; the longest took so long.
    async fn longest_wait(&self, via: u64, during: Duration) -> Duration {
        let (began, mut longest) = (SimInstant::now(), Duration::ZERO);
        for n in 0.. {
            if began.elapsed() >= during {
                break;
            }
            let asked = SimInstant::now();
            let revision = self.put(via, &format!("{via}.{during:?}.{n}")).await.unwrap();
            let view = self.replica(via).linearizable_view().await.unwrap();
            assert!(view.revision() >= revision);
            longest = longest.max(asked.elapsed());
            SimRuntime::sleep(Duration::from_millis(50)).await;
        }
        longest
    }
}

/// A8: clients of every member, of the leader itself, too, notice nothing: what is committed is on the
/// disks of the others.
#[test]
fn a_stalled_disk_of_the_leader_is_noticed_by_nobody() {
    for seed in 0..2 {
        on_cluster(seed, async {
            let cluster = Cluster::start(seed, 3).await;
            let leader = cluster.leader().await;
            let term = cluster.replica(leader).status().term;
            let wal = cluster.machines[&leader].disk(&data_dir().join("member/wal"));
            cluster.stall(leader, Duration::from_secs(15));
            let (during, synced) = (Duration::from_secs(14), wal.syncs());
            let longest = join_all((1..=3).map(|id| cluster.longest_wait(id, during))).await;
            assert!(wal.syncs() <= synced + 1, "seed {seed}: the disk has stalled all the while");
            let most = Duration::from_millis(10);
            assert!(longest.iter().all(|longest| *longest < most), "seed {seed}: {longest:?}");
            assert_eq!(cluster.leader().await, leader, "seed {seed}");
            assert_eq!(cluster.replica(leader).status().term, term, "seed {seed}: no election");
            SimRuntime::sleep(Duration::from_secs(2)).await;
            cluster.check(&format!("seed {seed}")).await;
            cluster.shutdown().await;
        });
    }
}

/// A leader that dies while its disk stalls has acknowledged nothing that the others lack.
#[test]
fn a_leader_that_crashes_while_its_disk_stalls_comes_back() {
    for seed in 0..4 {
        on_cluster(seed, async {
            let mut cluster = Cluster::start(seed, 3).await;
            let old = cluster.leader().await;
            cluster.stall(old, Duration::from_secs(15));
            let during = Duration::from_millis(100 + 400 * seed);
            join_all((1..=3).map(|id| cluster.longest_wait(id, during))).await;
            cluster.power_cut(old);
            cluster.load("without", 10).await;
            assert_ne!(cluster.leader().await, old, "seed {seed}");
            cluster.boot(old).await;
            cluster.check(&format!("seed {seed}")).await;
            cluster.shutdown().await;
        });
    }
}

/// C10: with one of three gone the leader's own disk is needed, and waited for. Nobody is elected
/// meanwhile: no heartbeat waits for a disk.
#[test]
fn heartbeats_go_on_while_the_leaders_disk_stalls() {
    on_cluster(5, async {
        let mut cluster = Cluster::start(5, 3).await;
        let leader = cluster.leader().await;
        let term = cluster.replica(leader).status().term;
        let gone = cluster.follower().await;
        cluster.kill(gone);
        let other = 6 - leader - gone;
        cluster.stall(leader, Duration::from_secs(6));
        let heard = async {
            for _ in 0..50 {
                SimRuntime::sleep(Duration::from_millis(100)).await;
                let status = cluster.replica(other).status();
                assert_eq!((status.leader, status.term), (Some(NodeId(leader)), term));
                // Reads need answers to heartbeats, and no disk.
                cluster.replica(other).read_index().await.unwrap();
            }
            SimInstant::now()
        };
        let put = async { (cluster.put(other, "waits").await, SimInstant::now()) };
        let ((put, answered), heard) = futures::join!(put, heard);
        put.unwrap();
        assert!(answered > heard, "it waits for the disk");
        cluster.boot(gone).await;
        cluster.check("again").await;
        cluster.shutdown().await;
    });
}

/// The leader hears from its followers however long their disks take.
#[test]
fn nobody_is_elected_when_all_disks_are_slow() {
    on_cluster(6, async {
        let cluster = Cluster::start(6, 3).await;
        let leader = cluster.leader().await;
        let term = cluster.replica(leader).status().term;
        for id in 1..=3 {
            cluster.stall(id, Duration::from_secs(4));
        }
        // Who hears its leader says so, and reads need no disk.
        let reads = async {
            for _ in 0..30 {
                SimRuntime::sleep(Duration::from_millis(100)).await;
                for replica in cluster.replicas.values() {
                    let began = SimInstant::now();
                    replica.read_index().await.unwrap();
                    let took = began.elapsed();
                    assert!(took < Duration::from_millis(100), "a read waits for {took:?}");
                }
            }
            SimInstant::now()
        };
        let put = async { (cluster.put(leader, "waits").await, SimInstant::now()) };
        let ((put, answered), read) = futures::join!(put, reads);
        put.unwrap();
        assert!(answered > read, "it waits for the disks");
        assert_eq!(cluster.leader().await, leader);
        assert_eq!(cluster.replica(leader).status().term, term);
        cluster.load("again", 5).await;
        cluster.check("again").await;
        cluster.shutdown().await;
    });
}

/// A disk that hangs: leadership moves, once, and without an election that somebody waits for.
#[test]
fn a_leader_whose_disk_does_not_come_back_hands_over() {
    for seed in 0..2 {
        on_cluster(seed, async {
            let cluster = Cluster::start(seed, 3).await;
            let old = cluster.leader().await;
            let term = cluster.replica(old).status().term;
            cluster.stall(old, Duration::from_secs(40));
            let others: Vec<u64> = (1..=3).filter(|id| *id != old).collect();
            let during = Duration::from_secs(30);
            let waits = others.iter().map(|id| cluster.longest_wait(*id, during));
            let longest = join_all(waits).await;
            let most = Duration::from_secs(1);
            assert!(longest.iter().all(|longest| *longest < most), "seed {seed}: {longest:?}");
            let status = cluster.replica(others[0]).status();
            assert_eq!(status.term, Term(term.0 + 1), "seed {seed}: by the hand-over alone");
            assert_ne!(status.leader, Some(NodeId(old)), "seed {seed}");
            assert_eq!(cluster.replica(old).status().slow_disk_handovers, 1, "seed {seed}");
            SimRuntime::sleep(Duration::from_secs(20)).await;
            cluster.check(&format!("seed {seed}, the disk is back")).await;
            let status = cluster.replica(old).status();
            assert_eq!((status.term, status.is_leader), (Term(term.0 + 1), false), "seed {seed}");
            cluster.shutdown().await;
        });
    }
}

/// A follower answers its leader before its disk has what it was given, and says no more than that it
/// follows.
#[test]
fn an_answer_to_a_heartbeat_calls_nothing_durable_that_waits_for_the_disk() {
    on_cluster(8, async {
        let cluster = Cluster::start(8, 3).await;
        let (leader, follower) = (cluster.leader().await, cluster.follower().await);
        cluster.stall(follower, Duration::from_secs(5));
        cluster.put(leader, "waits").await.unwrap();
        let log =
            |id| cluster.replica(id).inner.raft.with_raft_state(|s| s.log_ids.last().copied());
        let given = log(leader).await.unwrap();
        while log(follower).await.unwrap() != given {
            SimRuntime::sleep(Duration::from_millis(1)).await;
        }
        let raft = &cluster.replica(leader).inner.raft;
        let vote = raft.with_raft_state(|state| *state.vote_ref()).await.unwrap();
        let hello = cluster.replica(leader).inner.peers.roster.hello(NodeId(follower));
        let service = Service(Arc::clone(&cluster.replica(follower).inner));
        let upto = async || -> Option<LogPosition> {
            let beat = AppendEntriesRequest::<SimRuntime> {
                vote,
                prev_log_id: given,
                entries: Vec::new(),
                leader_commit: None,
            };
            let request = Some(Request::Heartbeat(wire::encode_append(&beat)));
            let answer = service.call(PeerRequest { hello: Some(hello), request }).await;
            let PeerReply { reply: Some(Reply::Heartbeat(reply)), .. } = answer else {
                panic!("{answer:?}")
            };
            let Some(Outcome::Matched(matched)) = reply.outcome else { panic!("{reply:?}") };
            matched.upto
        };
        let asked = SimInstant::now();
        assert_eq!(upto().await, None);
        assert!(asked.elapsed() < Duration::from_secs(1), "it does not wait for the disk");
        SimRuntime::sleep(Duration::from_secs(6)).await;
        assert_eq!(upto().await.map(|upto| upto.index), given.map(|given| given.index));
        drop(service);
        cluster.check("at the end").await;
        cluster.shutdown().await;
    });
}

/// To hand over would only add an election that nobody can win.
#[test]
fn nobody_hands_over_who_would_be_needed_to_elect_the_next() {
    for all_stall in [false, true] {
        on_cluster(7, async {
            let mut cluster = Cluster::start(7, 3).await;
            let leader = cluster.leader().await;
            let term = cluster.replica(leader).status().term;
            let follower = cluster.follower().await;
            let hang = Duration::from_secs(40);
            if all_stall {
                cluster.stall(follower, hang);
                cluster.stall(6 - leader - follower, hang);
            } else {
                cluster.kill(follower);
            }
            cluster.stall(leader, hang);
            let late = cluster.replica(leader).propose(put("late", "late")).await;
            assert!(matches!(late, Err(ProposeError::TimedOut)), "{late:?}");
            SimRuntime::sleep(Duration::from_secs(30)).await;
            let status = cluster.replica(leader).status();
            assert_eq!((status.term, status.slow_disk_handovers), (term, 0));
            SimRuntime::sleep(Duration::from_secs(10)).await;
            if !all_stall {
                cluster.boot(follower).await;
            }
            cluster.leader().await;
            cluster.load("again", 5).await;
            cluster.converged("again").await;
            cluster.shutdown().await;
        });
    }
}
