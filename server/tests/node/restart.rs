//! What a node keeps, and what it refuses.

use std::future::poll_fn;
use std::task::Poll;

use vetch_proto::etcdserverpb::{LeaseGrantRequest, LeaseLeasesRequest};
use vetch_server::node::StartError;

use crate::member::{Member, all, directory, within};

#[tokio::test]
async fn state_revision_and_identity_are_kept() {
    let dir = directory();
    let first = Member::start(dir.path(), &[]).await;
    first.put("a", "1").await;
    let grant = LeaseGrantRequest { id: 77, ttl: 600 };
    first.lease().await.lease_grant(grant).await.unwrap();
    let before = first.put("b", "2").await;
    let kept = first.kv().await.range(all()).await.unwrap().into_inner().kvs;
    first.stop().await;
    let second = Member::start(dir.path(), &[]).await;
    let answer = second.kv().await.range(all()).await.unwrap().into_inner();
    let header = answer.header.unwrap();
    assert_eq!((header.cluster_id, header.member_id), (before.cluster_id, before.member_id));
    assert_eq!((header.revision, answer.kvs), (before.revision, kept));
    assert!(header.raft_term > before.raft_term, "a new term, and never a lower one");
    let leases = second.lease().await.lease_leases(LeaseLeasesRequest {}).await.unwrap();
    assert_eq!(leases.into_inner().leases.iter().map(|lease| lease.id).collect::<Vec<_>>(), [77]);
    assert_eq!(second.put("c", "3").await.revision, before.revision + 1);
    second.stop().await;
}

#[tokio::test]
async fn nodes_of_one_process_are_independent() {
    let (one_dir, other_dir) = (directory(), directory());
    let (one, other) = (
        Member::start(one_dir.path(), &["--name=one", "--initial-cluster-token=one"]).await,
        Member::start(other_dir.path(), &["--name=other", "--initial-cluster-token=other"]).await,
    );
    let header = one.put("k", "of one").await;
    assert_ne!(one.addr, other.addr);
    let found = other.get("k").await;
    assert_eq!((found.count, found.header.unwrap().revision), (0, 1));
    assert_ne!(found.header.unwrap().cluster_id, header.cluster_id);
    assert_ne!(found.header.unwrap().member_id, header.member_id);
    assert_eq!(other.metric("etcd_mvcc_put_total").await, 0);
    assert_eq!(one.metric("etcd_mvcc_put_total").await, 1);
    one.stop().await;
    assert_eq!(other.put("k", "still there").await.revision, 2);
    other.stop().await;
}

#[tokio::test]
async fn a_second_node_waits_for_the_directory_and_gets_it() {
    let dir = directory();
    let first = Member::start(dir.path(), &[]).await;
    first.put("k", "of the first").await;
    let mut second = Box::pin(Member::start(dir.path(), &[]));
    // Let it come as far as it can: it asks for the lock in its first turns.
    for _ in 0..100 {
        let polled = poll_fn(|cx| Poll::Ready(second.as_mut().poll(cx).is_ready())).await;
        assert!(!polled, "it does not serve while the first has the directory");
        tokio::task::yield_now().await;
    }
    assert_eq!(first.put("k", "still of the first").await.revision, 3);
    first.stop().await;
    let second = within("the second has the directory", second).await;
    assert_eq!(second.get("k").await.kvs[0].value, "still of the first".as_bytes());
    second.stop().await;
}

/// A read that outlasts its node keeps the engine open, and nobody else gets into the directory.
#[tokio::test]
async fn a_directory_is_free_when_nobody_reads_its_store_any_more() {
    let dir = directory();
    let first = Member::start(dir.path(), &[]).await;
    first.put("k", "v").await;
    let view = first.node.api().replica.view();
    first.stop().await;
    let mut second = Box::pin(Member::start(dir.path(), &[]));
    for _ in 0..100 {
        let polled = poll_fn(|cx| Poll::Ready(second.as_mut().poll(cx).is_ready())).await;
        assert!(!polled, "it does not serve while the store is read");
        tokio::task::yield_now().await;
    }
    drop(view);
    let second = within("the second has the directory", second).await;
    assert_eq!(second.get("k").await.kvs[0].value, "v".as_bytes());
    second.stop().await;
}

#[tokio::test]
async fn a_directory_keeps_its_identity_whatever_the_flags_say_later() {
    let dir = directory();
    let first = Member::start(dir.path(), &["--name=a", "--initial-cluster-token=t1"]).await;
    let before = first.put("k", "v").await;
    first.stop().await;
    let flags = ["--name=b", "--initial-cluster-token=t2", "--initial-cluster-state=existing"];
    let second = Member::start(dir.path(), &flags).await;
    let header = second.get("k").await.header.unwrap();
    assert_eq!((header.cluster_id, header.member_id), (before.cluster_id, before.member_id));
    second.stop().await;
}

#[tokio::test]
async fn a_damaged_manifest_is_refused_by_name_and_left_alone() {
    let dir = directory();
    Member::start(dir.path(), &[]).await.stop().await;
    let path = dir.path().join("MANIFEST");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let error = Member::try_start(dir.path(), &[]).await.err().unwrap();
    assert!(matches!(error, StartError::Open(_)));
    let text = error.to_string();
    assert!(text.starts_with(&format!("{} at offset 0 is damaged", path.display())), "{text}");
    assert!(text.contains("restore it from a backup"), "{text}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[tokio::test]
async fn a_taken_port_is_refused_with_its_url_before_anything_is_opened() {
    let (dir, other) = (directory(), directory());
    let first = Member::start(dir.path(), &[]).await;
    let url = format!("--listen-client-urls=http://{}", first.addr);
    let error = Member::try_start(&other.path().join("data"), &[&url]).await.err().unwrap();
    let text = error.to_string();
    assert!(text.starts_with(&format!("cannot listen on http://{}: ", first.addr)), "{text}");
    assert!(!other.path().join("data").exists());
    first.stop().await;
}
