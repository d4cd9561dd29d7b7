//! A quota, its alarm, and compaction, as every member of three sees them.

use tonic::Code;
use vetch_proto::etcdserverpb::alarm_request::AlarmAction;
use vetch_proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmType, CompactionRequest, DeleteRangeRequest, RangeRequest,
};

use crate::cluster::{Cluster, QUICK};
use crate::member::{Member, all, get, put, until};

async fn alarms(member: &Member) -> Vec<AlarmMember> {
    let list = AlarmRequest { action: AlarmAction::Get.into(), ..AlarmRequest::default() };
    member.maintenance().await.alarm(list).await.unwrap().into_inner().alarms
}

#[tokio::test]
async fn a_quota_that_one_member_finds_exceeded_stops_the_writes_of_all() {
    let mut cluster = Cluster::start(3, &QUICK).await;
    let at = cluster.follower().await;
    cluster.stop(at).await;
    cluster.place_mut(at).flags.push("--quota-backend-bytes=200000".to_owned());
    cluster.start_again(at).await;
    let tight = cluster.member(at);
    let text = "etcdserver: mvcc: database space exceeded";
    let mut kv = tight.kv().await;
    for number in 0.. {
        match kv.put(put(&format!("key {number}"), &"v".repeat(10_000))).await {
            Ok(_) => assert!(number < 30, "the quota is 200 kB"),
            Err(refusal) => {
                assert_eq!((refusal.code(), refusal.message()), (Code::ResourceExhausted, text));
                break;
            }
        }
    }
    let raised = AlarmMember { member_id: tight.id().get(), alarm: AlarmType::Nospace.into() };
    for member in cluster.running() {
        assert_eq!(alarms(member).await, [raised]);
        let refused = member.kv().await.put(put("k", "v")).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (Code::ResourceExhausted, text));
        let unwell = "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n";
        assert_eq!(member.http("/health").await.unwrap(), (503, unwell.to_owned()));
        assert_eq!(member.get("key 0").await.count, 1);
    }

    // Room is made, and the alarm disarmed, by way of others.
    let other = cluster.member((at + 1) % 3);
    let RangeRequest { key, range_end, .. } = all();
    let everything = DeleteRangeRequest { key, range_end, ..DeleteRangeRequest::default() };
    let deleted = other.kv().await.delete_range(everything).await.unwrap().into_inner();
    let revision = deleted.header.unwrap().revision;
    other.kv().await.compact(CompactionRequest { revision, physical: true }).await.unwrap();
    let disarm = AlarmRequest {
        action: AlarmAction::Deactivate.into(),
        member_id: raised.member_id,
        alarm: raised.alarm,
    };
    other.maintenance().await.alarm(disarm).await.unwrap();
    for member in cluster.running() {
        until("the disarming has come through", || async {
            alarms(member).await.is_empty().then_some(())
        })
        .await;
    }
    for member in cluster.running() {
        until("there is room", || async { member.kv().await.put(put("k", "v")).await.ok() }).await;
        assert_eq!(member.http("/health").await.unwrap().0, 200);
    }
    cluster.stop_all().await;
}

#[tokio::test]
async fn a_compaction_by_way_of_a_follower_is_every_members() {
    let cluster = Cluster::start(3, &QUICK).await;
    let follower = cluster.member(cluster.follower().await);
    for value in ["1", "2", "3"] {
        follower.put("k", value).await;
    }
    let compaction = CompactionRequest { revision: 3, physical: true };
    let done = follower.kv().await.compact(compaction).await.unwrap().into_inner();
    assert_eq!(done.header.unwrap().revision, 4);
    for member in cluster.running() {
        // A linearizable read: whatever the follower was answered is applied here too.
        assert_eq!(member.get("k").await.kvs[0].value, "3");
        let before = RangeRequest { revision: 2, ..get("k") };
        let refused = member.kv().await.range(before).await.unwrap_err();
        let text = "etcdserver: mvcc: required revision has been compacted";
        assert_eq!((refused.code(), refused.message()), (Code::OutOfRange, text));
        let kept = RangeRequest { revision: 3, ..get("k") };
        assert_eq!(member.kv().await.range(kept).await.unwrap().into_inner().kvs[0].value, "2");
        let again = member.kv().await.compact(compaction).await.unwrap_err();
        assert_eq!((again.code(), again.message()), (Code::OutOfRange, text));
    }
    cluster.stop_all().await;
}

/// Each of them has a schedule, which finds at the same time that it is time.
#[tokio::test]
async fn the_leader_alone_compacts_by_itself() {
    let flags = ["--auto-compaction-mode=periodic", "--auto-compaction-retention=1s"];
    let cluster = Cluster::start(3, &[&QUICK[..], &flags].concat()).await;
    let leader = cluster.leader().await;
    let compacted = "etcd_debugging_mvcc_compact_revision";
    until("history is compacted everywhere", || async {
        cluster.member(leader).put("k", "v").await;
        let mut done = true;
        for member in cluster.running() {
            done &= member.metric(compacted).await > 1;
        }
        done.then_some(())
    })
    .await;
    let proposed =
        r#"etcd_server_apply_duration_seconds_count{op="Compaction",success="false",version="v3"}"#;
    for member in cluster.running() {
        let (_, text) = member.http("/metrics").await.unwrap();
        assert!(!text.contains(proposed), "nobody proposed what another had: {text}");
    }
    cluster.stop_all().await;
}
