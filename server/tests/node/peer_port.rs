//! What the peer port does over HTTP, as etcd's does.

use vetch_proto::etcdserverpb::{CompactionRequest, HashKvRequest, MemberAddRequest};

use crate::cluster::{Cluster, QUICK};
use crate::member::{request, until, within};

#[tokio::test]
async fn a_learner_is_promoted_by_id() {
    let mut cluster = Cluster::start(1, &QUICK).await;
    let (peer, voter) = (cluster.place(0).peer, cluster.member(0).id().get());
    let promote = async |id: &str| {
        request(peer, "POST", &format!("/members/promote/{id}"), "", "").await.unwrap()
    };
    let refused = |status, text: &str| (status, format!("{text}\n"));
    assert_eq!(promote("1").await, refused(404, "membership: ID not found"));
    assert_eq!(promote("abc").await, refused(404, "member abc not found in cluster"));
    assert_eq!(promote("").await, refused(404, "member  not found in cluster"));
    let voting = refused(412, "membership: can only promote a learner member");
    assert_eq!(promote(&voter.to_string()).await, voting);

    let (at, sockets) = cluster.newcomer("m2", &QUICK);
    let peer_ur_ls = vec![cluster.place(at).url.clone()];
    let add = MemberAddRequest { peer_ur_ls, is_learner: true };
    let added = cluster.member(0).cluster().await.member_add(add).await.unwrap().into_inner();
    let learner = added.member.unwrap().id.to_string();
    let behind = "etcdserver: can only promote a learner member which is in sync with leader";
    assert_eq!(promote(&learner).await, refused(412, behind));
    let founder = format!("m1={}", cluster.place(0).url);
    cluster.join(at, "m2", &founder, sockets).await;
    within("the learner serves", cluster.member(at).node.serving()).await;
    let members = until("it can be promoted", || async {
        let (status, members) = promote(&learner).await;
        (status == 200).then_some(members)
    })
    .await;
    let members: serde_json::Value = serde_json::from_str(&members).unwrap();
    let names: Vec<_> = members.as_array().unwrap().iter().map(|member| &member["name"]).collect();
    assert_eq!(names.len(), 2);
    assert!(names.iter().any(|name| **name == "m2"), "{names:?}");
    assert!(!members.to_string().contains("isLearner"), "{members}");
    cluster.stop_all().await;
}

#[tokio::test]
async fn the_hash_of_the_history_is_that_of_the_service() {
    let cluster = Cluster::start(1, &QUICK).await;
    let (peer, member) = (cluster.place(0).peer, cluster.member(0));
    for value in 0..5 {
        member.put("k", &format!("{value}")).await;
    }
    let compaction = CompactionRequest { revision: 3, physical: true };
    let header = member.kv().await.compact(compaction).await.unwrap().into_inner().header;
    let own = format!("X-Etcd-Cluster-ID: {:x}\r\n", header.unwrap().cluster_id);
    let ask = async |headers: &str, body: &str| {
        request(peer, "GET", "/members/hashkv", headers, body).await.unwrap()
    };
    for revision in [0, 4] {
        let expected = member.maintenance().await.hash_kv(HashKvRequest { revision }).await;
        let expected = expected.unwrap().into_inner();
        let body = format!(
            r#"{{"header":{{"revision":6}},"hash":{},"compact_revision":3,"hash_revision":{}}}"#,
            expected.hash,
            if revision == 0 { 6 } else { revision }
        );
        let asked = format!(r#"{{"revision":{revision}}}"#);
        assert_eq!(ask(&own, &asked).await, (200, body.clone()));
        assert_eq!(ask("", &asked).await, (200, body));
    }
    for (headers, body, status, text) in [
        (&*own, r#"{"revision":2}"#, 400, "mvcc: required revision has been compacted\n"),
        (&own, r#"{"revision":99}"#, 400, "mvcc: required revision is a future revision\n"),
        (&own, "", 400, "error unmarshalling request\n"),
        ("X-Etcd-Cluster-ID: abc\r\n", "{}", 412, "cluster ID mismatch\n"),
    ] {
        assert_eq!(ask(headers, body).await, (status, text.to_owned()), "{body}");
    }
    let posted = request(peer, "POST", "/members/hashkv", &own, "{}").await.unwrap();
    assert_eq!(posted, (405, "Method Not Allowed\n".to_owned()));
    cluster.stop_all().await;
}
