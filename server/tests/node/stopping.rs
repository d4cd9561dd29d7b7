//! How a node stops: what is open ends, what is under way has a moment, and nothing acknowledged is
//! lost.

use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt};
use tonic::{Code, Status};
use vetch_proto::etcdserverpb::watch_request::RequestUnion;
use vetch_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, SnapshotRequest, WatchCreateRequest, WatchRequest,
};
use vetch_proto::grpc::health::HealthCheckRequest;
use vetch_proto::grpc::health::health_client::HealthClient;

use crate::member::{Member, directory, put, until, within};

/// How long a stop waits for what is under way.
const DRAIN: Duration = Duration::from_millis(1_500);

fn stopped(status: &Status) {
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(status.message(), "etcdserver: server stopped");
}

#[tokio::test]
async fn open_streams_end_at_once_with_a_status_that_clients_retry() {
    let dir = directory();
    let member = Member::start(dir.path(), &[]).await;
    let (gate, mut kv) = (std::sync::Arc::clone(&member.gate), member.kv().await);
    let create = WatchCreateRequest { key: "k".into(), ..WatchCreateRequest::default() };
    let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let requests = stream::iter([create]).chain(stream::pending());
    let mut watch = member.watch().await.watch(requests).await.unwrap().into_inner();
    assert!(watch.message().await.unwrap().unwrap().created);
    let mut lease = member.lease().await;
    let grant = LeaseGrantRequest { id: 1, ttl: 60 };
    lease.lease_grant(grant).await.unwrap();
    let requests = stream::iter([LeaseKeepAliveRequest { id: 1 }]).chain(stream::pending());
    let mut renewals = lease.lease_keep_alive(requests).await.unwrap().into_inner();
    assert_eq!(renewals.message().await.unwrap().unwrap().ttl, 60);
    let mut health = HealthClient::new(member.channel().await);
    let mut health = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    health.message().await.unwrap().unwrap();
    gate.close();
    let write = tokio::spawn(async move { kv.put(put("k", "v")).await });
    let pending = "etcd_server_proposals_pending";
    until("the put waits", || async { (member.metric(pending).await > 0).then_some(()) }).await;
    let stop = tokio::spawn(member.stop());
    stopped(&within("the watch ends", watch.message()).await.unwrap_err());
    stopped(&within("the renewals end", renewals.message()).await.unwrap_err());
    stopped(&within("the health watch ends", health.message()).await.unwrap_err());
    assert!(!write.is_finished(), "they end before what is under way is cut");
    gate.open();
    drop(write.await.unwrap());
    stop.await.unwrap();
}

/// What the client of a write hears that is under way at a stop, and how long after its beginning. It is
/// kept in any case.
async fn stop_beside_a_write() -> (Result<(), Status>, Duration) {
    let dir = directory();
    let member = Member::start(dir.path(), &[]).await;
    let (gate, mut kv) = (std::sync::Arc::clone(&member.gate), member.kv().await);
    gate.close();
    let write = tokio::spawn(async move { kv.put(put("k", "v")).await });
    let pending = "etcd_server_proposals_pending";
    until("the put waits", || async { (member.metric(pending).await > 0).then_some(()) }).await;
    let (addr, began) = (member.addr, Instant::now());
    let stop = tokio::spawn(member.stop());
    let gone = || async { tokio::net::TcpStream::connect(addr).await.err().map(drop) };
    until("nobody listens", gone).await;
    gate.open();
    let answer = within("the answer", write).await.unwrap().map(drop);
    let took = began.elapsed();
    stop.await.unwrap();
    let member = Member::start(dir.path(), &[]).await;
    assert_eq!(member.get("k").await.count, 1);
    member.stop().await;
    (answer, took)
}

#[tokio::test]
async fn a_write_under_way_is_answered_and_kept() {
    for _ in 0..10 {
        let (answer, took) = stop_beside_a_write().await;
        let Err(cut) = answer else { return };
        // The machine's own disk may stall for longer than that: then it is tried again.
        assert!(took >= DRAIN, "cut after {took:?}: {cut}");
    }
    panic!("no stop has waited for the write");
}

#[tokio::test]
async fn a_write_that_does_not_end_is_cut_and_a_client_that_does_not_read_is_too() {
    let dir = directory();
    let member = Member::start(dir.path(), &[]).await;
    let mut kv = member.kv().await;
    for number in 0..20 {
        kv.put(put(&format!("{number}"), &"v".repeat(1_000_000))).await.unwrap();
    }
    // 20 MB that nobody reads.
    let mut snapshot = member.maintenance().await;
    let snapshot = snapshot.snapshot(SnapshotRequest {}).await.unwrap().into_inner();
    let gate = std::sync::Arc::clone(&member.gate);
    gate.close();
    let write = tokio::spawn(async move { kv.put(put("k", "v")).await });
    let pending = "etcd_server_proposals_pending";
    until("the put waits", || async { (member.metric(pending).await > 0).then_some(()) }).await;
    let began = Instant::now();
    let stop = tokio::spawn(member.stop());
    let cut = within("the put ends", write).await.unwrap().unwrap_err();
    assert!(matches!(cut.code(), Code::Unavailable | Code::Unknown), "{cut:?}");
    let took = began.elapsed();
    assert!(took >= DRAIN, "{took:?}");
    gate.open();
    stop.await.unwrap();
    drop(snapshot);
    let member = Member::start(dir.path(), &[]).await;
    assert_eq!(member.get("k").await.count, 1, "it was in the log: it is there, though unanswered");
    member.stop().await;
}
