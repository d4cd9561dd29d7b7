//! What a node says of itself.

use vetch_proto::etcdserverpb::HashKvRequest;
use vetch_storage::Fatal;

use crate::member::{Member, directory, get, put, until, within};

#[tokio::test]
async fn a_node_that_serves_is_live_ready_and_healthy() {
    let dir = directory();
    let member = Member::start(dir.path(), &[]).await;
    for path in ["/livez", "/readyz"] {
        assert_eq!(member.http(path).await.unwrap(), (200, "ok\n".to_owned()), "{path}");
    }
    let well = r#"{"health":"true","reason":""}"#.to_owned();
    assert_eq!(member.http("/health").await.unwrap(), (200, well));
    let (status, version) = member.http("/version").await.unwrap();
    let expected = r#"{"etcdserver":"3.7.1","etcdcluster":"3.7.0","storage":"3.7.0"}"#;
    assert_eq!((status, version.as_str()), (200, expected));
    member.stop().await;
}

#[tokio::test]
async fn a_node_whose_log_is_stuck_is_live_but_not_gone() {
    let dir = directory();
    let member =
        Member::start(dir.path(), &["--heartbeat-interval=10", "--election-timeout=100"]).await;
    member.gate.close();
    let mut kv = member.kv().await;
    let stuck = tokio::spawn(async move { kv.put(put("k", "v")).await });
    let pending = "etcd_server_proposals_pending";
    until("the put waits", || async { (member.metric(pending).await > 0).then_some(()) }).await;
    assert_eq!(member.http("/livez").await.unwrap().0, 200);
    member.gate.open();
    stuck.await.unwrap().unwrap();
    assert_eq!(member.http("/readyz").await.unwrap().0, 200);
    member.stop().await;
}

#[tokio::test]
async fn metrics_move_with_what_is_done() {
    let dir = directory();
    let member = Member::start(dir.path(), &[]).await;
    let names = [
        "etcd_mvcc_put_total",
        "etcd_debugging_mvcc_current_revision",
        "etcd_debugging_mvcc_keys_total",
        "etcd_server_proposals_committed_total",
        "etcd_server_proposals_applied_total",
        r#"grpc_server_handled_total{grpc_code="OK",grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"}"#,
    ];
    let read = async || {
        let mut values = Vec::new();
        for name in names {
            values.push(member.metric(name).await);
        }
        values
    };
    let before = read().await;
    let mut kv = member.kv().await;
    for number in 0..10 {
        kv.put(put(&format!("{number}"), "v")).await.unwrap();
    }
    let after = read().await;
    for (name, (before, after)) in names.iter().zip(before.iter().zip(&after)) {
        assert!(after - before >= 10, "{name}: {before}, then {after}");
    }
    assert_eq!(after[2], 10, "keys");
    assert_eq!(member.metric("etcd_server_has_leader").await, 1);
    assert_eq!(member.metric("etcd_server_is_leader").await, 1);
    member.stop().await;
}

#[tokio::test]
async fn a_node_told_of_damage_says_so_and_stops_serving() {
    let dir = directory();
    let mut member = Member::start(dir.path(), &[]).await;
    member.put("k", "v").await;
    let mut kv = member.kv().await;
    let damage = Fatal::Corrupt {
        location: "member/engine/x".into(),
        expected: "a checksum".into(),
        found: "another".into(),
    };
    member.node.api().stop(damage);
    let fatal = within("the node fails", member.node.failed()).await;
    assert!(fatal.to_string().contains("member/engine/x"), "{fatal}");
    let addr = member.addr;
    member.node.abandon();
    let gone = || async { tokio::net::TcpStream::connect(addr).await.err().map(drop) };
    until("nobody listens", gone).await;
    within("the open connection ends", kv.range(get("k"))).await.unwrap_err();
}

#[tokio::test]
async fn the_hash_of_a_store_is_the_same_after_a_restart() {
    let dir = directory();
    let member = Member::start(dir.path(), &[]).await;
    for number in 0..5 {
        member.put(&format!("{number}"), "v").await;
    }
    let request = HashKvRequest::default();
    let before = member.maintenance().await.hash_kv(request).await.unwrap().into_inner();
    member.stop().await;
    let member = Member::start(dir.path(), &[]).await;
    let after = member.maintenance().await.hash_kv(request).await.unwrap().into_inner();
    assert_eq!(after.hash, before.hash);
    member.stop().await;
}
