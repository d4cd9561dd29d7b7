//! What a node refuses, and in which words.

use std::future::poll_fn;
use std::task::Poll;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tonic::Code;
use vetch_proto::etcdserverpb::alarm_request::AlarmAction;
use vetch_proto::etcdserverpb::{
    AlarmRequest, AlarmType, CompactionRequest, DeleteRangeRequest, PutRequest,
};

use vetch_server::rpc::kv;

use crate::member::{Member, all, directory, get, put, until, within};

#[tokio::test]
async fn a_full_store_raises_nospace_and_takes_writes_again_after_room_was_made_and_the_alarm_disarmed()
 {
    let dir = directory();
    let member = Member::start(dir.path(), &["--quota-backend-bytes=200000"]).await;
    let mut kv = member.kv().await;
    let mut written = 0;
    let refusal = loop {
        match kv.put(put(&format!("key {written}"), &"v".repeat(10_000))).await {
            Ok(_) => written += 1,
            Err(refusal) => break refusal,
        }
        assert!(written < 30, "the quota is 200 kB");
    };
    assert!(written > 10, "{written}");
    assert_eq!(refusal.code(), Code::ResourceExhausted);
    assert_eq!(refusal.message(), "etcdserver: mvcc: database space exceeded");
    let small = kv.put(put("k", "v")).await.unwrap_err();
    assert_eq!(small.message(), refusal.message(), "any put, until the alarm is disarmed");
    let mut maintenance = member.maintenance().await;
    let list = AlarmRequest { action: AlarmAction::Get.into(), ..AlarmRequest::default() };
    let alarms = maintenance.alarm(list).await.unwrap().into_inner().alarms;
    let own = get_member_id(&member).await;
    assert_eq!((alarms.len(), alarms[0].member_id), (1, own));
    assert_eq!(alarms[0].alarm, i32::from(AlarmType::Nospace));
    let unwell = r#"{"health":"false","reason":"ALARM NOSPACE"}"#;
    assert_eq!(member.http("/health").await.unwrap(), (503, format!("{unwell}\n")));

    let everything = DeleteRangeRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        ..DeleteRangeRequest::default()
    };
    let deleted = kv.delete_range(everything).await.unwrap().into_inner();
    let revision = deleted.header.unwrap().revision;
    kv.compact(CompactionRequest { revision, physical: true }).await.unwrap();
    let still = kv.put(put("k", "v")).await.unwrap_err();
    assert_eq!(still.message(), refusal.message(), "the alarm stays until it is disarmed");
    let disarm = AlarmRequest {
        action: AlarmAction::Deactivate.into(),
        member_id: own,
        alarm: AlarmType::Nospace.into(),
    };
    maintenance.alarm(disarm).await.unwrap();
    kv.put(put("k", "v")).await.unwrap();
    assert_eq!(member.http("/health").await.unwrap().0, 200);
    member.stop().await;
}

async fn get_member_id(member: &Member) -> u64 {
    member.get("k").await.header.unwrap().member_id
}

#[tokio::test]
async fn beyond_five_thousand_waiting_proposals_the_next_is_refused_and_none_is_lost() {
    let dir = directory();
    let member = Member::start(dir.path(), &[]).await;
    member.gate.close();
    let api = member.node.api();
    let mut puts: FuturesUnordered<_> =
        (0..5_000).map(|number| kv::put(api, put(&format!("{number}"), "v"))).collect();
    let none = poll_fn(|cx| Poll::Ready(puts.poll_next_unpin(cx))).await;
    assert!(none.is_pending(), "nothing is written, so nobody is answered");
    let refusal = member.kv().await.put(put("one more", "v")).await.unwrap_err();
    assert_eq!(refusal.code(), Code::Unknown);
    assert_eq!(refusal.message(), "etcdserver: too many requests");
    assert_eq!(member.metric("etcd_server_proposals_pending").await, 5_000);
    member.gate.open();
    within("the others", async {
        while let Some(answer) = puts.next().await {
            answer.unwrap();
        }
    })
    .await;
    let mut count = all();
    count.count_only = true;
    assert_eq!(member.kv().await.range(count).await.unwrap().into_inner().count, 5_000);
    drop(puts);
    member.stop().await;
}

#[tokio::test]
async fn a_request_beyond_the_limit_is_refused_in_etcds_words_and_a_message_far_beyond_in_grpcs() {
    let dir = directory();
    let member = Member::start(dir.path(), &["--max-request-bytes=100000"]).await;
    let mut kv = member.kv().await;
    kv.put(put("k", &"v".repeat(99_900))).await.unwrap();
    let refusal = kv.put(put("k", &"v".repeat(100_000))).await.unwrap_err();
    assert_eq!(refusal.code(), Code::InvalidArgument);
    assert_eq!(refusal.message(), "etcdserver: request is too large");
    let request = put("k", &"v".repeat(700_000));
    let len = prost::Message::encoded_len(&request);
    let refusal = kv.put(request).await.unwrap_err();
    assert_eq!(refusal.code(), Code::ResourceExhausted);
    let max = 100_000 + 512 * 1024;
    let text = format!("grpc: received message larger than max ({len} vs. {max})");
    assert_eq!(refusal.message(), text);
    member.stop().await;
}

#[tokio::test]
async fn large_answers_beyond_the_budget_are_refused_and_small_ones_are_not() {
    let dir = directory();
    // A quarter of it is for answers: each large one takes half a megabyte.
    let member = Member::start(dir.path(), &["--memory-budget=8388608"]).await;
    let mut kv = member.kv().await;
    let value = vec![b'v'; 1_000_000];
    for number in 0..10 {
        let key = format!("{number}").into();
        kv.put(PutRequest { key, value: value.clone().into(), ..PutRequest::default() })
            .await
            .unwrap();
    }
    // Clients that ask for 10 MB and do not read: more than any buffer on the way holds.
    let mut waiting = Vec::new();
    let refusal = loop {
        let channel = member.channel().await;
        let answer = unread(channel, all()).await;
        match answer {
            Ok(body) => waiting.push(body),
            Err(refusal) => break refusal,
        }
        assert!(waiting.len() <= 4, "2 MiB are the budget");
    };
    assert_eq!(waiting.len(), 4);
    assert_eq!(refusal.code(), Code::ResourceExhausted);
    let text = "vetch: too many large answers at once; ask for pages with limit, or retry";
    assert_eq!(refusal.message(), text);
    kv.range(get("none")).await.unwrap();
    drop(waiting);
    let kv = &kv;
    until("room for a large answer", || async move { kv.clone().range(all()).await.ok() }).await;
    member.stop().await;
}

/// Asks, and reads no more of the answer than its head.
async fn unread(
    channel: tonic::transport::Channel,
    request: vetch_proto::etcdserverpb::RangeRequest,
) -> Result<tonic::Streaming<vetch_proto::etcdserverpb::RangeResponse>, tonic::Status> {
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/etcdserverpb.KV/Range");
    let codec = tonic_prost::ProstCodec::default();
    let answer = grpc.server_streaming(tonic::Request::new(request), path, codec).await?;
    Ok(answer.into_inner())
}
