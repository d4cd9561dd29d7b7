//! Watchers and leases on a member that fell behind every log and was given a whole state.

use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft_rt_sim::SimRuntime;
use vetch_proto::etcdserverpb::{
    CompactionRequest, LeaseGrantRequest, LeaseRevokeRequest, Member as MemberRecord, PutRequest,
    WatchResponse,
};
use vetch_proto::mvccpb::event::EventType;
use vetch_proto::vetchpb::proposal::Command;
use vetch_raft::platform::sim::Sim;
use vetch_raft::transport::sim::SimNetwork;
use vetch_raft::{AsyncRuntime, Settings, Start};
use vetch_storage::{ClusterId, LeaseId, NodeId};

use super::member::{Member, SMALL, pass, replica_settings};
use super::requests::{created, everything, key, put};

/// Three members; one of them is behind, and its clients stay.
struct Group {
    network: SimNetwork,
    members: Vec<Member>,
    leader: usize,
    behind: usize,
}

fn record(id: u64) -> MemberRecord {
    let peer_ur_ls = vec![format!("http://m{id}:2380")];
    MemberRecord { id, peer_ur_ls, ..MemberRecord::default() }
}

impl Group {
    async fn start(seed: u64) -> Self {
        let network = SimNetwork::new(seed);
        let mut members = Vec::new();
        for id in 1..=3 {
            let settings = Settings {
                id: NodeId(id),
                checkpoint_entries: 10,
                catchup_entries: 2,
                ..replica_settings()
            };
            let start = |observer| Start {
                data_dir: PathBuf::from("/data"),
                settings,
                cluster: ClusterId(7),
                member: record(id),
                peers: (1..=3).filter(|peer| *peer != id).map(record).collect(),
                bootstrap: vetch_raft::Bootstrap::New,
                observer,
            };
            let machine = Sim::on(&network, seed * 10 + id);
            members.push(Member::start_on(machine, seed, SMALL, start).await);
        }
        for member in &members {
            let (api, stop) = (&member.api, member.stop.clone());
            drop(api.leases.start(api.replica.clone(), api.metrics.lease.clone(), stop));
            member.api.replica.published().await;
        }
        let mut group = Self { network, members, leader: 0, behind: 1 };
        // A leader that the others know of already may not have heard of it yet.
        group.until("led", |group| group.leads().is_some()).await;
        group.leader = group.leads().expect("it leads still");
        group.behind = (group.leader + 1) % 3;
        group
    }

    fn leads(&self) -> Option<usize> {
        self.members.iter().position(|member| member.api.replica.status().is_leader)
    }

    fn leader(&self) -> &Member {
        &self.members[self.leader]
    }

    fn behind(&self) -> &Member {
        &self.members[self.behind]
    }

    fn is_even(&self) -> bool {
        self.behind().revision() == self.leader().revision()
    }

    /// Does `meanwhile` while the one is cut off, then so much that no log has it any more, and waits
    /// until it has the state.
    async fn fall_behind(&self, meanwhile: impl Future<Output = ()>) {
        self.until("caught up", Self::is_even).await;
        let behind = u64::try_from(self.behind).unwrap() + 1;
        self.network.isolate(NodeId(behind));
        meanwhile.await;
        for round in 0..4 {
            for _ in 0..12 {
                put(self.leader(), "filling", round).await;
            }
            pass(Duration::from_millis(1_200)).await;
        }
        assert_eq!(self.behind().installed.load(Ordering::Relaxed), 0);
        self.network.heal();
        self.until("given the state", |group| {
            group.behind().installed.load(Ordering::Relaxed) == 1 && group.is_even()
        })
        .await;
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..12_000 {
            if holds(self) {
                return;
            }
            pass(Duration::from_millis(5)).await;
        }
        panic!("never {what}");
    }

    async fn end(self) {
        for member in &self.members {
            member.stop.cancel();
            member.api.replica.shutdown().await;
        }
    }
}

fn run(seed: u64, test: impl Future<Output = ()>) {
    SimRuntime::with_seed(seed).block_on(test);
}

/// Key and revision of each event.
fn heard(answers: &[WatchResponse]) -> Vec<(String, i64)> {
    let events = answers.iter().flat_map(|answer| &answer.events);
    let records = events.map(|event| event.kv.clone().unwrap());
    records.map(|kv| (String::from_utf8(kv.key.to_vec()).unwrap(), kv.mod_revision)).collect()
}

#[test]
fn watchers_hear_of_every_change_once_across_an_installed_state() {
    for seed in 0..4 {
        run(seed, async {
            let group = Group::start(seed).await;
            let before = put(group.leader(), "k", 1).await;
            group.until("caught up", Group::is_even).await;
            let (mut all, mut one) = (group.behind().client(), group.behind().client());
            created(&mut all, everything()).await;
            created(&mut one, key("k")).await;
            let first = put(group.leader(), "k", 2).await;
            assert_eq!(first, before + 1);
            group
                .fall_behind(async {
                    put(group.leader(), "other", 1).await;
                    put(group.leader(), "k", 3).await;
                })
                .await;
            let last = put(group.leader(), "k", 4).await;
            group.until("caught up", Group::is_even).await;
            let revisions = |answers: &[WatchResponse]| -> Vec<i64> {
                heard(answers).into_iter().map(|(_, revision)| revision).collect()
            };
            let everything: Vec<i64> = (first..=last).collect();
            assert_eq!(revisions(&all.read_all().await), everything, "seed {seed}");
            assert_eq!(revisions(&one.read_all().await), [first, first + 2, last], "seed {seed}");
            group.end().await;
        });
    }
}

#[test]
fn watchers_whose_next_events_are_compacted_are_told_so() {
    run(5, async {
        let group = Group::start(5).await;
        let before = put(group.leader(), "k", 1).await;
        group.until("caught up", Group::is_even).await;
        let (mut now, mut future) = (group.behind().client(), group.behind().client());
        created(&mut now, key("k")).await;
        let start_revision = before + 100;
        let request =
            vetch_proto::etcdserverpb::WatchCreateRequest { start_revision, ..everything() };
        created(&mut future, request).await;
        let compacted = before + 5;
        group
            .fall_behind(async {
                for len in 0..8 {
                    put(group.leader(), "k", len).await;
                }
                let request = CompactionRequest { revision: compacted, physical: false };
                group.leader().propose(Command::Compaction(request)).await;
            })
            .await;
        let answers = now.read_all().await;
        assert_eq!(answers.len(), 1, "{answers:?}");
        assert!(answers[0].canceled);
        assert_eq!(answers[0].compact_revision, compacted);
        // What it waits for is still to come.
        assert_eq!(future.read_all().await, []);
        let mut revision = group.leader().revision();
        while revision < start_revision {
            revision = put(group.leader(), "more", 1).await;
        }
        group.until("caught up", Group::is_even).await;
        assert_eq!(heard(&future.read_all().await), [("more".to_owned(), start_revision)]);
        group.end().await;
    });
}

#[test]
fn leases_that_came_with_a_state_are_the_new_leaders() {
    run(6, async {
        let group = Group::start(6).await;
        let grant = async |id, ttl| {
            let request = LeaseGrantRequest { id, ttl };
            group.leader().propose(Command::LeaseGrant(request)).await;
            let (key, value) = (format!("of {id}").into(), "v".into());
            let put = PutRequest { key, value, lease: id, ..PutRequest::default() };
            group.leader().propose(Command::Put(put)).await;
        };
        grant(1, 600).await;
        grant(2, 600).await;
        let meanwhile = async {
            let revoke = Command::LeaseRevoke(LeaseRevokeRequest { id: 1 });
            group.leader().propose(revoke).await;
            grant(3, 30).await;
            grant(4, 600).await;
        };
        // The short one must outlive the time it takes to fall behind: that is less than its TTL.
        group.fall_behind(meanwhile).await;
        let mut client = group.behind().client();
        created(&mut client, everything()).await;
        let target = u64::try_from(group.behind).unwrap() + 1;
        group.leader().api.replica.transfer_leadership(NodeId(target)).await.unwrap();
        group.until("leading", |group| group.behind().api.replica.status().is_leader).await;
        pass(Duration::from_millis(100)).await;
        let leases = &group.behind().api.leases;
        assert_eq!(leases.remaining(LeaseId(1)).await.unwrap(), None, "revoked meanwhile");
        assert!(leases.remaining(LeaseId(2)).await.unwrap().is_some());
        assert!(leases.remaining(LeaseId(3)).await.unwrap().is_some());
        pass(Duration::from_secs(33)).await;
        assert_eq!(leases.remaining(LeaseId(3)).await.unwrap(), None);
        assert!(leases.remaining(LeaseId(4)).await.unwrap().is_some_and(|left| left > 500));
        let answers = client.read_all().await;
        let deletion =
            |event: &vetch_proto::mvccpb::Event| event.r#type == i32::from(EventType::Delete);
        assert!(answers.iter().flat_map(|answer| &answer.events).all(deletion));
        let keys: Vec<String> = heard(&answers).into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["of 3"], "it expired once");
        group.end().await;
    });
}
