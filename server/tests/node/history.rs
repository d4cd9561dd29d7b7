//! History: read by watchers that are behind, compacted by itself.

use std::collections::BTreeMap;

use futures::StreamExt;
use futures::stream;
use vetch_proto::etcdserverpb::watch_request::RequestUnion;
use vetch_proto::etcdserverpb::{
    PutRequest, RangeRequest, WatchCreateRequest, WatchRequest, WatchResponse,
};

use crate::member::{Member, directory, put, until, within};

fn watch_from(start_revision: i64) -> WatchRequest {
    let create = WatchCreateRequest { key: "k".into(), start_revision, ..Default::default() };
    WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }
}

#[tokio::test]
async fn hundreds_of_watchers_of_one_stream_resume_at_once_from_before_a_restart() {
    const WATCHERS: i64 = 200;
    let dir = directory();
    let member = Member::start(dir.path(), &[]).await;
    let mut kv = member.kv().await;
    // Two pieces of history for each: together far more than a stream may be behind.
    for _ in 0..2 {
        let value = vec![b'v'; 250_000].into();
        kv.put(PutRequest { key: "k".into(), value, ..Default::default() }).await.unwrap();
    }
    member.stop().await;
    let member = Member::start(dir.path(), &[]).await;
    let requests = stream::iter((0..WATCHERS).map(|_| watch_from(2))).chain(stream::pending());
    let mut answers = member.watch().await.watch(requests).await.unwrap().into_inner();
    let pending = "etcd_debugging_mvcc_pending_events_total";
    until("the outbox is filled", || async { (member.metric(pending).await > 10).then_some(()) })
        .await;
    let mut heard = BTreeMap::<i64, Vec<i64>>::new();
    let is_complete = |heard: &BTreeMap<i64, Vec<i64>>| {
        heard.values().filter(|events| events.len() == 2).count() == 200
    };
    while !is_complete(&heard) {
        let answer: WatchResponse = within("an answer", answers.message()).await.unwrap().unwrap();
        let revisions =
            answer.events.iter().filter_map(|event| Some(event.kv.as_ref()?.mod_revision));
        heard.entry(answer.watch_id).or_default().extend(revisions);
        // 4 MiB, and one piece on top: of 250 kB events that is less than twenty.
        assert!(member.metric(pending).await < 25, "the outbox is bounded");
    }
    assert!(heard.values().all(|events| *events == [2, 3]));
    drop(answers);
    member.stop().await;
}

#[tokio::test]
async fn history_older_than_the_retention_is_compacted_by_itself() {
    let dir = directory();
    let flags = ["--auto-compaction-mode=periodic", "--auto-compaction-retention=200ms"];
    let member = Member::start(dir.path(), &flags).await;
    let mut kv = member.kv().await;
    for _ in 0..5 {
        kv.put(put("k", "v")).await.unwrap();
    }
    let old = RangeRequest { key: "k".into(), revision: 2, ..RangeRequest::default() };
    let kv = &kv;
    let refusal = until("the compaction", || {
        let old = old.clone();
        async move { kv.clone().range(old).await.err() }
    })
    .await;
    assert_eq!(refusal.message(), "etcdserver: mvcc: required revision has been compacted");
    let gone = "etcd_debugging_mvcc_db_compaction_keys_total";
    until("old versions are gone", || async { (member.metric(gone).await >= 4).then_some(()) })
        .await;
    assert_eq!(member.get("k").await.kvs[0].version, 5, "the newest stays");
    member.stop().await;
}
