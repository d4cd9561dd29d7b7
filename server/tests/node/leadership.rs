//! Leadership moved and lost, as clients of every member see it.

use futures::StreamExt;
use futures::stream;
use tokio::runtime::Handle;
use tonic::{Code, Request};
use vetch_proto::etcdserverpb::watch_request::RequestUnion;
use vetch_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseTimeToLiveRequest, MoveLeaderRequest,
    PutRequest, StatusRequest, WatchCreateRequest, WatchRequest,
};

use crate::cluster::{Cluster, QUICK};
use crate::member::{Member, get, put, until, within};

async fn move_leader(member: &Member, target_id: u64) -> Result<(), tonic::Status> {
    let request = MoveLeaderRequest { target_id };
    let answer = member.maintenance().await.move_leader(request).await?;
    assert_eq!(answer.into_inner().header, None, "as in etcd");
    Ok(())
}

#[tokio::test]
async fn leadership_moves_where_the_leader_is_told_to_and_refusals_are_etcds() {
    let cluster = Cluster::start(3, &QUICK).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let (from, to) = (cluster.member(leader), cluster.member(follower));
    let refused = move_leader(to, to.id().get()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(refused.message(), "etcdserver: not leader");
    let refused = move_leader(from, 12345).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(refused.message(), "etcdserver: bad leader transferee");
    move_leader(from, from.id().get()).await.unwrap();
    let seen = "etcd_server_leader_changes_seen_total";
    let before = to.metric(seen).await;
    move_leader(from, to.id().get()).await.unwrap();
    assert_eq!(cluster.leader().await, follower);
    assert_eq!(to.metric("etcd_server_is_leader").await, 1);
    assert_eq!(from.metric("etcd_server_is_leader").await, 0);
    assert!(to.metric(seen).await > before);
    for member in cluster.running() {
        member.put("k", "v").await;
        assert_eq!(member.metric("etcd_server_has_leader").await, 1);
    }
    cluster.stop_all().await;
}

/// Every member leads as often, and is written to all the time: who leads no more has entries under way.
async fn move_around(cluster: &Cluster, times: usize) {
    let moves = async {
        for at in (0..3).cycle().take(3 * times) {
            until("it leads", || async {
                let leader = cluster.leader().await;
                if leader == at {
                    return Some(());
                }
                // Refused while the other is behind, as it may be under all that is written.
                drop(move_leader(cluster.member(leader), cluster.member(at).id().get()).await);
                None
            })
            .await;
        }
    };
    let writes = async |at: usize| -> () {
        let mut kv = cluster.member(at).kv().await;
        loop {
            // Whether it is taken is for other tests to say.
            drop(kv.put(put("k", "v")).await);
        }
    };
    tokio::select! {
        () = moves => {}
        ((), (), ()) = async { tokio::join!(writes(0), writes(1), writes(2)) } => {}
    }
}

/// Who leads has streams to the others, which both ends must let go of when it leads no more.
#[tokio::test]
async fn leadership_that_moves_leaves_no_task_behind() {
    let cluster = Cluster::start(3, &QUICK).await;
    let tasks = || Handle::current().metrics().num_alive_tasks();
    // Until every member has all its connections.
    Box::pin(move_around(&cluster, 1)).await;
    let before = tasks();
    Box::pin(move_around(&cluster, 10)).await;
    until("what leaders left behind ends", || async { (tasks() <= before).then_some(()) }).await;
    cluster.stop_all().await;
}

#[tokio::test]
async fn leases_are_kept_alive_on_every_member_and_tell_their_time() {
    let cluster = Cluster::start(3, &QUICK).await;
    for (member, id) in cluster.running().zip(1..) {
        let mut leases = member.lease().await;
        let granted = leases.lease_grant(LeaseGrantRequest { id, ttl: 100 }).await.unwrap();
        assert_eq!(granted.into_inner().header.unwrap().member_id, member.id().get());
        let key = format!("of {id}");
        let request = PutRequest { lease: id, ..put(&key, "v") };
        member.kv().await.put(request).await.unwrap();
    }
    for member in cluster.running() {
        let mut leases = member.lease().await;
        for id in 1..=3 {
            let renewals = stream::iter([LeaseKeepAliveRequest { id }]);
            let mut renewals = leases.lease_keep_alive(renewals).await.unwrap().into_inner();
            let renewed = within("a renewal", renewals.message()).await.unwrap().unwrap();
            assert_eq!((renewed.id, renewed.ttl), (id, 100));
            assert_eq!(renewed.header.unwrap().member_id, member.id().get());
            let request = LeaseTimeToLiveRequest { id, keys: true };
            let left = leases.lease_time_to_live(request).await.unwrap().into_inner();
            assert_eq!((left.granted_ttl, left.keys.len()), (100, 1));
            assert!((98..100).contains(&left.ttl), "{left:?}");
        }
        let request = LeaseTimeToLiveRequest { id: 4, keys: false };
        let none = leases.lease_time_to_live(request).await.unwrap().into_inner();
        assert_eq!(none.ttl, -1);
        let renewals = stream::iter([LeaseKeepAliveRequest { id: 4 }]);
        let mut renewals = leases.lease_keep_alive(renewals).await.unwrap().into_inner();
        assert_eq!(renewals.message().await.unwrap().unwrap().ttl, 0);
    }
    cluster.stop_all().await;
}

#[tokio::test]
async fn a_lease_that_a_follower_keeps_alive_outlives_its_ttl_and_leaders() {
    let cluster = Cluster::start(3, &QUICK).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let member = cluster.member(follower);
    let mut leases = member.lease().await;
    // So long that a busy machine does not come to a renewal too late.
    leases.lease_grant(LeaseGrantRequest { id: 1, ttl: 4 }).await.unwrap();
    member.kv().await.put(PutRequest { lease: 1, ..put("k", "v") }).await.unwrap();
    let third = 3 - leader - follower;
    let began = std::time::Instant::now();
    // Half as long again as its TTL, and the leader moves in between.
    for turn in 0.. {
        let renewals = stream::iter([LeaseKeepAliveRequest { id: 1 }]);
        let mut renewals = leases.lease_keep_alive(renewals).await.unwrap().into_inner();
        let renewed = within("a renewal", renewals.message()).await.unwrap().unwrap();
        assert_eq!(renewed.ttl, 4, "turn {turn}");
        if turn == 3 {
            let target = cluster.member(third).id().get();
            move_leader(cluster.member(leader), target).await.unwrap();
        }
        if began.elapsed().as_secs() >= 6 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(member.get("k").await.count, 1);
    // Nobody renews it any more.
    until("the key is gone", || async { (member.get("k").await.count == 0).then_some(()) }).await;
    cluster.stop_all().await;
}

fn asking_for_a_leader<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("hasleader", "true".parse().unwrap());
    request
}

#[tokio::test]
async fn who_asks_for_a_leader_is_told_when_there_is_none_and_others_stay() {
    let mut cluster = Cluster::start(3, &QUICK).await;
    let survivor = cluster.follower().await;
    let create = || {
        let create = WatchCreateRequest { key: "k".into(), ..WatchCreateRequest::default() };
        let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        stream::iter([create]).chain(stream::pending())
    };
    let member = cluster.member(survivor);
    member.lease().await.lease_grant(LeaseGrantRequest { id: 1, ttl: 600 }).await.unwrap();
    let mut watch = member.watch().await;
    let asks = asking_for_a_leader(create());
    let mut asks = watch.watch(asks).await.unwrap().into_inner();
    let mut stays = watch.watch(create()).await.unwrap().into_inner();
    for watch in [&mut asks, &mut stays] {
        assert!(watch.message().await.unwrap().unwrap().created);
    }
    let requests = stream::iter([LeaseKeepAliveRequest { id: 1 }]).chain(stream::pending());
    let renewals = member.lease().await.lease_keep_alive(asking_for_a_leader(requests)).await;
    let mut renewals = renewals.unwrap().into_inner();
    assert_eq!(renewals.message().await.unwrap().unwrap().ttl, 600);
    for at in (0..3).filter(|at| *at != survivor) {
        cluster.stop(at).await;
    }
    for refused in [
        within("the watch ends", asks.message()).await.unwrap_err(),
        within("the renewals end", renewals.message()).await.unwrap_err(),
    ] {
        assert_eq!(refused.code(), Code::Unavailable);
        assert_eq!(refused.message(), "etcdserver: no leader");
    }
    let member = cluster.member(survivor);
    let refused = member.kv().await.put(asking_for_a_leader(put("k", "v"))).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::Unavailable, "etcdserver: no leader"));
    let mut local = get("k");
    local.serializable = true;
    member.kv().await.range(local).await.unwrap();
    let status = member.maintenance().await.status(StatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.leader, &status.errors[..]), (0, &["etcdserver: no leader".to_owned()][..]));
    let (code, unwell) = member.http("/health").await.unwrap();
    assert_eq!((code, &*unwell), (503, "{\"health\":\"false\",\"reason\":\"RAFT NO LEADER\"}\n"));
    assert_eq!(member.http("/livez").await.unwrap().0, 200);
    assert_eq!(member.metric("etcd_server_has_leader").await, 0);

    let other = (survivor + 1) % 3;
    cluster.start_again(other).await;
    cluster.member(other).put("k", "v").await;
    let event = within("the event", stays.message()).await.unwrap().unwrap();
    assert_eq!(event.events.len(), 1, "a watch that did not ask goes on");
    cluster.stop_all().await;
}
