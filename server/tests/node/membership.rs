//! Members come and go: the Cluster service, and what it asks of nodes.

use tonic::{Code, Status};
use vetch_proto::etcdserverpb::{
    AlarmRequest, LeaseLeasesRequest, MemberAddRequest, MemberAddResponse, MemberListRequest,
    MemberPromoteRequest, MemberRemoveRequest, MemberUpdateRequest, RangeRequest, StatusRequest,
};
use vetch_raft::StopReason;

use crate::cluster::{Cluster, QUICK};
use crate::member::{Member, get, put, until, within};

pub(crate) async fn add(
    via: &Member,
    url: &str,
    is_learner: bool,
) -> Result<MemberAddResponse, Status> {
    let request = MemberAddRequest { peer_ur_ls: vec![url.to_owned()], is_learner };
    Ok(via.cluster().await.member_add(request).await?.into_inner())
}

async fn remove(via: &Member, id: u64) -> Result<usize, Status> {
    let request = MemberRemoveRequest { id };
    Ok(via.cluster().await.member_remove(request).await?.into_inner().members.len())
}

async fn promote(via: &Member, id: u64) -> Result<(), Status> {
    via.cluster().await.member_promote(MemberPromoteRequest { id }).await.map(drop)
}

async fn update(via: &Member, id: u64, url: &str) -> Result<(), Status> {
    let request = MemberUpdateRequest { id, peer_ur_ls: vec![url.to_owned()] };
    via.cluster().await.member_update(request).await.map(drop)
}

async fn own_id(member: &Member) -> u64 {
    let status = member.maintenance().await.status(StatusRequest {}).await.unwrap().into_inner();
    status.header.unwrap().member_id
}

fn assert_refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, text: &str) {
    let status = answer.unwrap_err();
    assert_eq!((status.code(), status.message()), (code, text));
}

#[tokio::test]
async fn one_member_becomes_three_and_one_again() {
    let mut cluster = Cluster::start(1, &QUICK).await;
    let mut others = format!("m1=http://{}", cluster.place(0).peer);
    let before = cluster.member(0).put("k", "1").await;
    for (at, name) in [(1, "m2"), (2, "m3")] {
        let (place, sockets) = cluster.newcomer(name, &QUICK);
        assert_eq!(place, at);
        let url = format!("http://{}", cluster.place(at).peer);
        let via = cluster.member(at - 1);
        let added = add(via, &url, false).await.unwrap();
        let header = added.header.unwrap();
        assert_eq!((header.cluster_id, header.revision), (before.cluster_id, 0));
        let member = added.member.unwrap();
        assert_eq!((member.name.as_str(), member.is_learner), ("", false));
        assert_eq!(added.members.len(), at + 1);
        assert!(added.members.contains(&member));
        cluster.join(at, name, &others, sockets).await;
        within("the newcomer serves", cluster.member(at).node.serving()).await;
        assert_eq!(own_id(cluster.member(at)).await, member.id);
        assert_eq!(cluster.member(at).get("k").await.kvs[0].value, "1");
        others = format!("{others},{name}={url}");
    }
    let header = cluster.member(2).put("k", "2").await;
    assert_eq!(header.cluster_id, before.cluster_id);
    let request = MemberListRequest { linearizable: true };
    let listed = cluster.member(1).cluster().await.member_list(request).await.unwrap();
    let members = listed.into_inner().members;
    assert!(members.iter().all(|member| !member.name.is_empty() && !member.is_learner));

    // The newcomers restart like everybody, and may lose a founder.
    cluster.stop(2).await;
    cluster.start_again(2).await;
    within("it serves again", cluster.member(2).node.serving()).await;
    let founder = own_id(cluster.member(0)).await;
    let left =
        until("the group is healthy", || async { remove(cluster.member(2), founder).await.ok() });
    assert_eq!(left.await, 2);
    let reason = within("the founder stops", cluster.member_mut(0).node.failed()).await;
    assert!(matches!(reason, StopReason::Removed), "{reason}");
    cluster.stop(0).await;
    let found =
        until("a leader", || async { cluster.member(1).kv().await.range(get("k")).await.ok() });
    assert_eq!(found.await.into_inner().kvs[0].value, "2");
    let last = own_id(cluster.member(1)).await;
    assert_eq!(remove(cluster.member(1), last).await.unwrap_or(1), 1);
    within("the second stops", cluster.member_mut(1).node.failed()).await;
    cluster.stop(1).await;
    until("the third goes on alone", || async {
        cluster.member(2).kv().await.put(put("k", "3")).await.ok()
    })
    .await;
    let own = own_id(cluster.member(2)).await;
    assert_refused(
        remove(cluster.member(2), own).await,
        Code::Unknown,
        "etcdserver: re-configuration failed due to not enough started members",
    );
    cluster.stop_all().await;
}

#[tokio::test]
async fn a_learner_answers_what_etcds_does_and_is_promoted() {
    let mut cluster = Cluster::start(1, &QUICK).await;
    let others = format!("m1=http://{}", cluster.place(0).peer);
    cluster.member(0).put("k", "v").await;
    let (at, sockets) = cluster.newcomer("m2", &QUICK);
    let url = format!("http://{}", cluster.place(at).peer);
    let id = add(cluster.member(0), &url, true).await.unwrap().member.unwrap().id;
    let not_ready = "etcdserver: can only promote a learner member which is in sync with leader";
    assert_refused(promote(cluster.member(0), id).await, Code::FailedPrecondition, not_ready);
    let too_many = "etcdserver: too many learner members in cluster";
    let another = add(cluster.member(0), "http://127.0.0.1:1", true).await;
    assert_refused(another, Code::FailedPrecondition, too_many);
    cluster.join(at, "m2", &others, sockets).await;
    let learner = cluster.member(at);
    within("the learner serves", learner.node.serving()).await;

    let serializable = RangeRequest { serializable: true, ..get("k") };
    until("the learner has the key", || async {
        let found = learner.kv().await.range(serializable.clone()).await.unwrap().into_inner();
        (found.count == 1).then_some(())
    })
    .await;
    let status = learner.maintenance().await.status(StatusRequest {}).await.unwrap().into_inner();
    assert!(status.is_learner);
    let refusal = "etcdserver: rpc not supported for learner";
    let refused = |answer| assert_refused(answer, Code::FailedPrecondition, refusal);
    refused(learner.kv().await.range(get("k")).await.map(drop));
    refused(learner.kv().await.put(put("k", "x")).await.map(drop));
    refused(learner.lease().await.lease_leases(LeaseLeasesRequest {}).await.map(drop));
    refused(learner.maintenance().await.alarm(AlarmRequest::default()).await.map(drop));
    let list = MemberListRequest { linearizable: false };
    refused(learner.cluster().await.member_list(list).await.map(drop));

    until("it can be promoted", || async { promote(cluster.member(0), id).await.ok() }).await;
    let found =
        until("it answers as a voter", || async { learner.kv().await.range(get("k")).await.ok() });
    assert_eq!(found.await.into_inner().count, 1);
    let again = promote(learner, id).await;
    let voter = "etcdserver: can only promote a learner member";
    assert_refused(again, Code::FailedPrecondition, voter);
    cluster.stop_all().await;
}

#[tokio::test]
async fn learners_are_promoted_by_themselves_where_that_is_asked_for() {
    let flags = [&QUICK[..], &["--auto-promote-learners"]].concat();
    let mut cluster = Cluster::start(1, &flags).await;
    let others = format!("m1=http://{}", cluster.place(0).peer);
    let (at, sockets) = cluster.newcomer("m2", &QUICK);
    let url = format!("http://{}", cluster.place(at).peer);
    add(cluster.member(0), &url, true).await.unwrap();
    cluster.join(at, "m2", &others, sockets).await;
    let learner = cluster.member(at);
    within("it serves", learner.node.serving()).await;
    until("it is a voter", || async { learner.kv().await.put(put("k", "v")).await.ok() }).await;
    cluster.stop_all().await;
}

#[tokio::test]
async fn what_cannot_be_is_refused_in_etcds_words() {
    let cluster = Cluster::start(1, &[]).await;
    let member = cluster.member(0);
    let own = format!("http://{}", cluster.place(0).peer);
    let id = own_id(member).await;
    let taken = "etcdserver: Peer URLs already exists";
    assert_refused(add(member, &own, false).await, Code::FailedPrecondition, taken);
    let invalid = "etcdserver: given member URLs are invalid";
    for url in ["", "nonsense", "http://127.0.0.1", "ftp://127.0.0.1:1", "http://127.0.0.1:1/path"]
    {
        assert_refused(add(member, url, false).await, Code::InvalidArgument, invalid);
        assert_refused(update(member, id, url).await, Code::InvalidArgument, invalid);
    }
    let none = MemberAddRequest { peer_ur_ls: Vec::new(), is_learner: false };
    let none = member.cluster().await.member_add(none).await;
    assert_refused(none, Code::InvalidArgument, invalid);
    let unknown = "etcdserver: member not found";
    assert_refused(remove(member, 99).await, Code::NotFound, unknown);
    assert_refused(promote(member, 99).await, Code::NotFound, unknown);
    assert_refused(update(member, 99, "http://127.0.0.1:1").await, Code::NotFound, unknown);
    update(member, id, &own).await.unwrap();
    update(member, id, "http://127.0.0.1:1").await.unwrap();
    let listed = member.cluster().await.member_list(MemberListRequest::default()).await.unwrap();
    assert_eq!(listed.into_inner().members[0].peer_ur_ls, ["http://127.0.0.1:1"]);
    cluster.stop_all().await;
}

#[tokio::test]
async fn one_of_three_goes_on_alone_when_it_is_forced_to() {
    let mut cluster = Cluster::start(3, &QUICK).await;
    let before = cluster.member(1).put("k", "v").await;
    for at in 0..3 {
        cluster.stop(at).await;
    }
    cluster.place_mut(1).flags.push("--force-new-cluster".to_owned());
    cluster.start_again(1).await;
    let alone = cluster.member(1);
    within("it serves", alone.node.serving()).await;
    assert_eq!(alone.get("k").await.kvs[0].value, "v");
    let header = alone.put("k", "w").await;
    assert_eq!(header.member_id, before.member_id);
    assert_ne!(header.cluster_id, before.cluster_id, "those left behind must find another cluster");
    let listed = alone.cluster().await.member_list(MemberListRequest::default()).await.unwrap();
    assert_eq!(listed.into_inner().members.len(), 1);
    cluster.stop_all().await;
}
