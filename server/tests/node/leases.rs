//! Leases, end to end.

use vetch_proto::etcdserverpb::watch_request::RequestUnion;
use vetch_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseTimeToLiveRequest, PutRequest,
    WatchCreateRequest, WatchRequest,
};
use vetch_proto::mvccpb::event::EventType;

use crate::member::{Member, directory, within};

/// The least TTL is one and a half election timeouts, in whole seconds: as short as can be.
const FAST: [&str; 2] = ["--heartbeat-interval=10", "--election-timeout=100"];

#[tokio::test]
async fn a_lease_that_nobody_renews_takes_its_keys_along_and_watchers_hear_of_it() {
    let dir = directory();
    let member = Member::start(dir.path(), &FAST).await;
    let (mut leases, mut kv) = (member.lease().await, member.kv().await);
    for id in [5, 6] {
        let granted = leases.lease_grant(LeaseGrantRequest { id, ttl: 1 }).await.unwrap();
        assert_eq!(granted.into_inner().ttl, 1);
    }
    for (key, lease) in [("b", 5), ("a", 5), ("c", 6)] {
        let request = PutRequest { key: key.into(), lease, ..PutRequest::default() };
        kv.put(request).await.unwrap();
    }
    let create = WatchCreateRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        filters: vec![0],
        ..WatchCreateRequest::default()
    };
    let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let requests =
        futures::StreamExt::chain(futures::stream::iter([create]), futures::stream::pending());
    let mut answers = member.watch().await.watch(requests).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().unwrap().created);
    let mut revisions = Vec::new();
    while revisions.len() < 3 {
        let answer = within("the expiry", answers.message()).await.unwrap().unwrap();
        for event in answer.events {
            assert_eq!(event.r#type, i32::from(EventType::Delete));
            let kv = event.kv.unwrap();
            revisions.push((kv.mod_revision, kv.key));
        }
    }
    let of = |key: &str| revisions.iter().find(|(_, k)| k == key).unwrap().0;
    assert_eq!(of("a"), of("b"), "one lease, one revision");
    assert_ne!(of("a"), of("c"));
    assert!(revisions.is_sorted(), "keys in order within a revision: {revisions:?}");
    let request = LeaseTimeToLiveRequest { id: 5, keys: true };
    let gone = leases.lease_time_to_live(request).await.unwrap().into_inner();
    assert_eq!((gone.ttl, gone.granted_ttl), (-1, 0));
    let renewed = futures::stream::iter([LeaseKeepAliveRequest { id: 5 }]);
    let mut renewed = leases.lease_keep_alive(renewed).await.unwrap().into_inner();
    assert_eq!(renewed.message().await.unwrap().unwrap().ttl, 0);
    assert_eq!(member.metric("etcd_debugging_server_lease_expired_total").await, 2);
    drop(answers);
    member.stop().await;
}
