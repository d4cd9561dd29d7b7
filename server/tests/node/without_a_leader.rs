//! What one of three answers while the others are gone: the texts, and when they come, are etcd's.

use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, FuturesUnordered, StreamExt};
use tonic::{Code, Status};
use vetch_proto::etcdserverpb::alarm_request::AlarmAction;
use vetch_proto::etcdserverpb::request_op::Request;
use vetch_proto::etcdserverpb::{
    AlarmRequest, AlarmType, CompactionRequest, DeleteRangeRequest, LeaseGrantRequest,
    LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest,
    MemberAddRequest, MemberListRequest, MemberPromoteRequest, MemberRemoveRequest,
    MemberUpdateRequest, RangeRequest, RequestOp, TxnRequest,
};

use crate::cluster::Cluster;
use crate::member::{Member, get, put};

const GIVEN_UP: (Code, &str) = (Code::DeadlineExceeded, "context deadline exceeded");
const TIMED_OUT: (Code, &str) = (Code::Unavailable, "etcdserver: request timed out");
const NO_LEADER: (Code, &str) = (Code::Unavailable, "etcdserver: no leader");
const UNHEALTHY: (Code, &str) = (Code::Unavailable, "etcdserver: unhealthy cluster");

/// Each call waits for two of these timeouts.
const SHORT: [&str; 2] = ["--heartbeat-interval=50", "--election-timeout=500"];

type Answer<'a> = BoxFuture<'a, Result<(), Status>>;

fn txn(request: Request) -> TxnRequest {
    let success = vec![RequestOp { request: Some(request) }];
    TxnRequest { success, ..TxnRequest::default() }
}

/// A call, and what etcd answers at its deadline.
type Call<'a> = (&'static str, (Code, &'static str), Answer<'a>);

/// Calls that need a leader.
fn calls(member: &Member) -> Vec<Call<'_>> {
    [kv_calls(member), lease_calls(member), cluster_calls(member)].into_iter().flatten().collect()
}

fn kv_calls(member: &Member) -> Vec<Call<'_>> {
    vec![
        ("Put", GIVEN_UP, async { member.kv().await.put(put("k", "w")).await.map(drop) }.boxed()),
        (
            "DeleteRange",
            GIVEN_UP,
            async {
                let request = DeleteRangeRequest { key: "k".into(), ..Default::default() };
                member.kv().await.delete_range(request).await.map(drop)
            }
            .boxed(),
        ),
        (
            "Txn that writes",
            GIVEN_UP,
            async {
                let request = txn(Request::RequestPut(put("k", "w")));
                member.kv().await.txn(request).await.map(drop)
            }
            .boxed(),
        ),
        (
            "Compact",
            GIVEN_UP,
            async {
                let request = CompactionRequest { revision: 1, physical: false };
                member.kv().await.compact(request).await.map(drop)
            }
            .boxed(),
        ),
        ("Range", TIMED_OUT, async { member.kv().await.range(get("k")).await.map(drop) }.boxed()),
        (
            "Txn that reads",
            TIMED_OUT,
            async {
                let request = txn(Request::RequestRange(get("k")));
                member.kv().await.txn(request).await.map(drop)
            }
            .boxed(),
        ),
    ]
}

fn lease_calls(member: &Member) -> Vec<Call<'_>> {
    vec![
        (
            "LeaseGrant",
            GIVEN_UP,
            async {
                let request = LeaseGrantRequest { id: 2, ttl: 60 };
                member.lease().await.lease_grant(request).await.map(drop)
            }
            .boxed(),
        ),
        (
            "LeaseRevoke",
            GIVEN_UP,
            async {
                let request = LeaseRevokeRequest { id: 1 };
                member.lease().await.lease_revoke(request).await.map(drop)
            }
            .boxed(),
        ),
        (
            "LeaseTimeToLive",
            NO_LEADER,
            async {
                let request = LeaseTimeToLiveRequest { id: 1, keys: false };
                member.lease().await.lease_time_to_live(request).await.map(drop)
            }
            .boxed(),
        ),
        (
            "LeaseKeepAlive",
            NO_LEADER,
            async {
                let requests = stream::iter([LeaseKeepAliveRequest { id: 1 }]);
                let requests = requests.chain(stream::pending());
                let mut answers =
                    member.lease().await.lease_keep_alive(requests).await?.into_inner();
                answers.message().await.map(drop)
            }
            .boxed(),
        ),
    ]
}

fn cluster_calls(member: &Member) -> Vec<Call<'_>> {
    let id = member.id().get();
    vec![
        (
            "MemberList, linearizable",
            TIMED_OUT,
            async {
                let request = MemberListRequest { linearizable: true };
                member.cluster().await.member_list(request).await.map(drop)
            }
            .boxed(),
        ),
        (
            "MemberAdd",
            UNHEALTHY,
            async {
                let peer_ur_ls = vec!["http://127.0.0.1:1".to_owned()];
                let request = MemberAddRequest { peer_ur_ls, is_learner: false };
                member.cluster().await.member_add(request).await.map(drop)
            }
            .boxed(),
        ),
        (
            "MemberUpdate",
            GIVEN_UP,
            async move {
                let peer_ur_ls = vec!["http://127.0.0.1:1".to_owned()];
                let request = MemberUpdateRequest { id, peer_ur_ls };
                member.cluster().await.member_update(request).await.map(drop)
            }
            .boxed(),
        ),
        (
            "MemberRemove",
            UNHEALTHY,
            async move {
                let request = MemberRemoveRequest { id };
                member.cluster().await.member_remove(request).await.map(drop)
            }
            .boxed(),
        ),
        (
            "MemberPromote",
            NO_LEADER,
            async move {
                let request = MemberPromoteRequest { id };
                member.cluster().await.member_promote(request).await.map(drop)
            }
            .boxed(),
        ),
        (
            "Alarm",
            GIVEN_UP,
            async move {
                let request = AlarmRequest {
                    action: AlarmAction::Activate.into(),
                    member_id: id,
                    alarm: AlarmType::Nospace.into(),
                };
                member.maintenance().await.alarm(request).await.map(drop)
            }
            .boxed(),
        ),
    ]
}

#[tokio::test]
async fn what_needs_a_leader_is_given_up_in_etcds_words_and_the_rest_is_answered() {
    let mut cluster = Cluster::start(3, &SHORT).await;
    let survivor = cluster.follower().await;
    cluster.member(survivor).put("k", "v").await;
    let grant = LeaseGrantRequest { id: 1, ttl: 600 };
    cluster.member(survivor).lease().await.lease_grant(grant).await.unwrap();
    // Whoever stops in order hands leadership over: not to one whose vote does not reach its disk.
    cluster.member(survivor).gate.close();
    for at in (0..3).filter(|at| *at != survivor) {
        cluster.stop(at).await;
    }
    let member = cluster.member(survivor);
    member.gate.open();

    let local = RangeRequest { serializable: true, ..get("k") };
    let found = member.kv().await.range(local.clone()).await.unwrap().into_inner();
    assert_eq!(found.kvs[0].value, "v");
    let local = txn(Request::RequestRange(local));
    assert!(member.kv().await.txn(local).await.unwrap().into_inner().succeeded);
    let members = member.cluster().await.member_list(MemberListRequest::default()).await.unwrap();
    assert_eq!(members.into_inner().members.len(), 3);
    let leases = member.lease().await.lease_leases(LeaseLeasesRequest {}).await.unwrap();
    assert_eq!(leases.into_inner().leases.len(), 1);

    // Five seconds and two election timeouts.
    let (deadline, began) = (Duration::from_secs(6), Instant::now());
    let calls = calls(member).into_iter().map(async |(name, expected, call)| {
        let refused = call.await.expect_err(name);
        ((name, expected, refused.code(), refused.message().to_owned()), began.elapsed())
    });
    let mut answers: FuturesUnordered<_> = calls.collect();
    while let Some(((name, expected, code, text), took)) = answers.next().await {
        assert_eq!((code, &*text), expected, "{name}");
        assert!(took + Duration::from_secs(1) > deadline, "{name} after {took:?}");
        assert!(took < 3 * deadline, "{name} after {took:?}");
    }
    drop(answers);
    cluster.stop_all().await;
}
