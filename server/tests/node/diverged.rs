//! A member whose data is not what its cluster's is: what clients and its operator see of it.

use std::path::Path;

use tonic::Code;
use vetch_proto::etcdserverpb::alarm_request::AlarmAction;
use vetch_proto::etcdserverpb::{AlarmMember, AlarmRequest, AlarmType};
use vetch_server::node::{RunError, Sockets, run_at};
use vetch_storage::engine::Options;
use vetch_storage::testing::forget;

use crate::cluster::{Cluster, QUICK};
use crate::member::{Engine, Member, get, put, until, within};

/// Removes a key from the engine of a member that is down, and the checkpoint of the index that still
/// knows it.
pub(crate) fn lose(data_dir: &Path, key: &str) {
    let engine = Engine::open(&data_dir.join("member/engine"), Options::default()).unwrap();
    forget(&engine, key).unwrap();
    for file in std::fs::read_dir(data_dir.join("member/snap")).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
}

pub(crate) async fn alarm(via: &Member, action: AlarmAction, member_id: u64) -> Vec<AlarmMember> {
    let kind = if action == AlarmAction::Get { AlarmType::None } else { AlarmType::Corrupt };
    let request = AlarmRequest { action: action.into(), member_id, alarm: kind.into() };
    via.maintenance().await.alarm(request).await.unwrap().into_inner().alarms
}

#[tokio::test]
async fn a_member_that_differs_stops_and_the_others_wait_for_the_operator() {
    let mut cluster = Cluster::start(3, &QUICK).await;
    let lost = "key that was lost";
    cluster.member(0).put(lost, "1").await;
    cluster.member(0).put("other", "1").await;
    let at = cluster.follower().await;
    let id = cluster.member(at).id().get();
    cluster.stop(at).await;
    lose(cluster.place(at).dir.path(), lost);

    let config = cluster.place(at).config();
    let data_dir = config.data_dir.display().to_string();
    let sockets = Sockets::bind(&config.listen).unwrap();
    let addr = sockets.client_addrs()[0];
    let (serves, served) = tokio::sync::oneshot::channel();
    let ready = || serves.send(()).unwrap();
    let runs = run_at(sockets, config, ready, std::future::pending::<()>());
    let leader = cluster.leader().await;
    let used = async {
        within("it serves", served).await.unwrap();
        cluster.member(leader).put(lost, "2").await;
    };
    let (ended, ()) =
        within("it stops by itself", Box::pin(async { tokio::join!(runs, used) })).await;
    let said = ended.unwrap_err();
    assert!(matches!(said, RunError::Diverged(_)), "{said}");
    let said = said.to_string();
    for part in [&format!("member {id:x}"), &data_dir, "remove this member from the cluster"] {
        assert!(said.contains(part), "{said}");
    }
    tokio::net::TcpStream::connect(addr).await.unwrap_err();

    let leader = cluster.leader().await;
    let member = cluster.member(leader);
    let corrupt = AlarmMember { member_id: id, alarm: AlarmType::Corrupt.into() };
    until("the alarm is there", || async {
        (alarm(member, AlarmAction::Get, 0).await == [corrupt]).then_some(())
    })
    .await;
    let (status, body) = member.http("/health").await.unwrap();
    assert_eq!((status, body.trim()), (503, r#"{"health":"false","reason":"ALARM CORRUPT"}"#));
    let refused = member.kv().await.put(put("k", "v")).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::DataLoss, "etcdserver: corrupt cluster")
    );
    assert_eq!(member.kv().await.range(get(lost)).await.unwrap().into_inner().kvs[0].value, "2");

    let config = cluster.place(at).config();
    let sockets = Sockets::bind(&config.listen).unwrap();
    let again = Box::pin(run_at(sockets, config, || {}, std::future::pending::<()>()));
    let said = within("it does not start", again).await.unwrap_err().to_string();
    assert!(said.contains("does not start again") && said.contains(&data_dir), "{said}");

    assert_eq!(alarm(member, AlarmAction::Deactivate, id).await, [corrupt]);
    member.put("k", "v").await;
    let agreed = until("the two agree", || async {
        let (agreed, applied) = (
            member.metric("vetch_state_agreed_index").await,
            member.metric("etcd_server_proposals_applied_total").await,
        );
        (agreed == applied).then_some(agreed)
    });
    assert!(agreed.await > 0);
    cluster.stop_all().await;
}
