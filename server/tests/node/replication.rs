//! What every member of a cluster answers.

use vetch_proto::etcdserverpb::{MemberListRequest, StatusRequest};
use vetch_raft::manifest::identity::{cluster_id, initial_member_id};
use vetch_storage::NodeId;

use crate::cluster::{Cluster, QUICK};
use crate::member::{get, http, until};

#[tokio::test]
async fn three_members_serve_one_store_and_each_speaks_for_itself() {
    let cluster = Cluster::start(3, &QUICK).await;
    let ids: Vec<NodeId> = (0..3)
        .map(|at| {
            let url = format!("http://{}", cluster.place(at).peer);
            initial_member_id(&[url], "etcd-cluster")
        })
        .collect();
    for (at, writer) in cluster.running().enumerate() {
        let (key, revision) = (format!("k{at}"), i64::try_from(at).unwrap() + 2);
        let header = writer.put(&key, "v").await;
        assert_eq!((header.member_id, header.revision), (ids[at].get(), revision));
        assert_eq!(header.cluster_id, cluster_id(&ids).get());
        let own = writer.get(&key).await;
        assert_eq!(own.count, 1, "a client reads its own writes on the member it talks to");
        for (reader, id) in cluster.running().zip(&ids) {
            let found = reader.get(&key).await;
            let header = found.header.unwrap();
            assert_eq!((found.count, header.revision), (1, revision));
            assert_eq!(header.member_id, id.get());
        }
    }
    let mut leaders = Vec::new();
    for (member, id) in cluster.running().zip(&ids) {
        let answer = member.maintenance().await.status(StatusRequest {}).await.unwrap();
        let status = answer.into_inner();
        assert!(status.raft_index >= status.raft_applied_index && status.errors.is_empty());
        assert_eq!(status.header.unwrap().member_id, id.get());
        leaders.push((status.leader, status.raft_term));
        let request = MemberListRequest { linearizable: true };
        let listed = member.cluster().await.member_list(request).await.unwrap().into_inner();
        let mut expected: Vec<u64> = ids.iter().map(|id| id.get()).collect();
        expected.sort_unstable();
        assert_eq!(listed.members.iter().map(|m| m.id).collect::<Vec<_>>(), expected);
        assert!(listed.members.iter().all(|m| !m.name.is_empty() && m.client_ur_ls.len() == 1));
    }
    assert!(leaders.iter().all(|leader| *leader == leaders[0] && leader.0 != 0), "{leaders:?}");
    for member in cluster.running() {
        let local = member.id().get();
        for remote in &ids {
            let name = "etcd_network_known_peers";
            let name = format!("{name}{{Local=\"{local:x}\",Remote=\"{:x}\"}}", remote.get());
            assert_eq!(member.metric(&name).await, 1);
        }
    }
    cluster.stop_all().await;
}

#[tokio::test]
async fn a_minority_may_stop_and_come_back_and_reads_what_it_missed() {
    let mut cluster = Cluster::start(3, &QUICK).await;
    for at in 0..3 {
        cluster.stop(at).await;
        let writer = cluster.running().next().unwrap();
        let header = writer.put("k", &format!("without {at}")).await;
        cluster.start_again(at).await;
        let found = cluster.member(at).get("k").await;
        assert_eq!(found.kvs[0].value, format!("without {at}"));
        assert_eq!(found.header.unwrap().revision, header.revision);
    }
    cluster.stop_all().await;
}

#[tokio::test]
async fn a_member_alone_of_three_serves_its_peers_and_no_client_until_another_comes() {
    let (places, sockets) = Cluster::prepare(3, &QUICK);
    drop(sockets);
    let first = places[0].start().await;
    let version = http(places[0].peer, "/version").await.unwrap();
    let undecided = r#"{"etcdserver":"3.7.1","etcdcluster":"not_decided","storage":"unknown"}"#;
    assert_eq!(version, (200, undecided.to_owned()));
    let mut kv = first.kv().await;
    let waits = tokio::spawn(async move { kv.range(get("k")).await });
    let second = places[1].start().await;
    let answer = waits.await.unwrap().unwrap().into_inner();
    assert_eq!(answer.header.unwrap().revision, 1);
    let decided = r#"{"etcdserver":"3.7.1","etcdcluster":"3.7.0","storage":"3.7.0"}"#;
    until("the version is decided", || async {
        (http(places[0].peer, "/version").await.unwrap().1 == decided).then_some(())
    })
    .await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn one_that_waits_for_a_leader_stops_when_it_is_asked_to() {
    let (places, sockets) = Cluster::prepare(3, &QUICK);
    drop(sockets);
    places[0].start().await.stop().await;
}

#[tokio::test]
async fn the_peer_port_tells_of_the_members_as_etcds_does() {
    let cluster = Cluster::start(3, &QUICK).await;
    let peer = cluster.place(0).peer;
    let mut members = Vec::new();
    for (at, member) in cluster.running().enumerate() {
        let header = member.get("k").await.header.unwrap();
        let (id, number) = (header.member_id, at + 1);
        let (peer, client) = (cluster.place(at).peer, member.addr);
        let text = format!(
            r#"{{"id":{id},"peerURLs":["http://{peer}"],"name":"m{number}","clientURLs":["http://{client}"]}}"#
        );
        members.push((id, text));
    }
    members.sort();
    let members: Vec<String> = members.into_iter().map(|(_, text)| text).collect();
    let expected = format!("[{}]\n", members.join(","));
    until("all members are known by name", || async {
        let (status, found) = http(peer, "/members").await.unwrap();
        assert_eq!(status, 200);
        (found == expected).then_some(())
    })
    .await;
    for (path, answer) in [
        ("/downgrade/enabled", (200, "false")),
        ("/health", (404, "404 page not found\n")),
        ("/metrics", (404, "404 page not found\n")),
        ("/members/promote/1", (405, "Method Not Allowed\n")),
        ("/members/x", (404, "404 page not found\n")),
        ("/raft", (404, "404 page not found\n")),
        ("/", (404, "404 page not found\n")),
    ] {
        assert_eq!(http(peer, path).await.unwrap(), (answer.0, answer.1.to_owned()), "{path}");
    }
    cluster.stop_all().await;
}

#[tokio::test]
async fn flags_about_the_initial_cluster_have_no_effect_on_a_directory_that_has_begun() {
    let mut cluster = Cluster::start(3, &QUICK).await;
    let before = cluster.member(0).put("k", "v").await;
    cluster.stop(0).await;
    cluster.place_mut(0).flags.extend([
        "--initial-cluster=nobody=nonsense".to_owned(),
        "--initial-cluster-state=existing".to_owned(),
        "--initial-cluster-token=another".to_owned(),
        "--initial-advertise-peer-urls=http://127.0.0.1:1".to_owned(),
    ]);
    cluster.start_again(0).await;
    let header = cluster.member(0).get("k").await.header.unwrap();
    assert_eq!((header.cluster_id, header.member_id), (before.cluster_id, before.member_id));
    assert_eq!(header.revision, before.revision);
    cluster.stop_all().await;
}

#[tokio::test]
async fn reads_that_rely_on_clocks_see_what_any_member_acknowledged() {
    let flags = [&QUICK[..], &["--read-mode=leader-lease"]].concat();
    let mut cluster = Cluster::start(3, &flags).await;
    let config = cluster.place(0).config();
    assert!(config.notices.iter().any(|notice| notice.subject == "--read-mode"));
    for turn in 0..30 {
        for (at, writer) in cluster.running().enumerate() {
            let value = format!("{turn} of {at}");
            writer.put("k", &value).await;
            for reader in cluster.running() {
                assert_eq!(reader.get("k").await.kvs[0].value, value);
            }
        }
    }
    // A leader that nobody confirms any more may not be believed, however lately it led.
    let leader = cluster.leader().await;
    for at in (0..3).filter(|at| *at != leader) {
        cluster.stop(at).await;
    }
    let refused = until("the lease is over", || async {
        match cluster.member(leader).kv().await.range(get("k")).await {
            Ok(early) => {
                assert_eq!(early.into_inner().kvs[0].value, "29 of 2");
                None
            }
            Err(refused) => Some(refused),
        }
    });
    let refused = refused.await;
    // The second when it finds out, while it is asked, that it leads no more.
    let texts = ["etcdserver: request timed out", "etcdserver: leader changed"];
    assert!(texts.contains(&refused.message()), "{refused:?}");
    cluster.stop_all().await;
}
