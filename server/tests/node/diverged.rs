//! A member whose data is not what its cluster's is: what clients and its operator see of it.

use std::path::Path;

use tonic::Code;
use vetch_proto::etcdserverpb::alarm_request::AlarmAction;
use vetch_proto::etcdserverpb::{AlarmMember, AlarmRequest, AlarmType};
use vetch_server::node::{RunError, Sockets, run_at};
use vetch_storage::engine::Options;
use vetch_storage::testing::forget;

use crate::cluster::{Cluster, QUICK};
use crate::member::{Engine, Member, put, until, within};

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

/// What the engine of the wrong member has lost.
pub(crate) const LOST: &str = "key that was lost";

/// A member that runs and serves, and is about to find out that it is wrong.
struct Doomed {
    at: usize,
    id: u64,
    data_dir: String,
}

impl Cluster {
    /// A follower loses a key while it is down.
    async fn with_one_wrong() -> (Self, Doomed) {
        let mut cluster = Self::start(3, &QUICK).await;
        cluster.member(0).put(LOST, "1").await;
        cluster.member(0).put("other", "1").await;
        let at = cluster.follower().await;
        let id = cluster.member(at).id().get();
        cluster.stop(at).await;
        lose(cluster.place(at).dir.path(), LOST);
        let data_dir = cluster.place(at).config().data_dir.display().to_string();
        (cluster, Doomed { at, id, data_dir })
    }

    /// The wrong one starts, and stops by itself when the key that it lacks is written again.
    async fn until_it_stops(&self, Doomed { at, id, data_dir }: &Doomed) {
        let config = self.place(*at).config();
        let sockets = Sockets::bind(&config.listen).unwrap();
        let addr = sockets.client_addrs()[0];
        let leader = self.leader().await;
        let (serves, served) = tokio::sync::oneshot::channel();
        let ready = || serves.send(()).unwrap();
        let runs = run_at(sockets, config, ready, std::future::pending::<()>());
        let used = async {
            within("it serves", served).await.unwrap();
            self.member(leader).put(LOST, "2").await;
        };
        let both = Box::pin(async { tokio::join!(runs, used) });
        let (ended, ()) = within("it stops by itself", both).await;
        let said = ended.unwrap_err();
        assert!(matches!(said, RunError::Diverged(_)), "{said}");
        let said = said.to_string();
        for part in [&format!("member {id:x}"), data_dir, "remove this member from the cluster"] {
            assert!(said.contains(part), "{said}");
        }
        tokio::net::TcpStream::connect(addr).await.unwrap_err();
    }

    async fn assert_it_does_not_start_again(&self, Doomed { at, data_dir, .. }: &Doomed) {
        let config = self.place(*at).config();
        let sockets = Sockets::bind(&config.listen).unwrap();
        let again = Box::pin(run_at(sockets, config, || {}, std::future::pending::<()>()));
        let said = within("it does not start", again).await.unwrap_err().to_string();
        assert!(said.contains("does not start again") && said.contains(data_dir), "{said}");
    }
}

impl Member {
    /// Reads are answered, writes are not, and `/health` says why.
    async fn assert_waits_for_the_operator(&self) {
        let (status, body) = self.http("/health").await.unwrap();
        assert_eq!((status, body.trim()), (503, r#"{"health":"false","reason":"ALARM CORRUPT"}"#));
        let refused = self.kv().await.put(put("k", "v")).await.unwrap_err();
        assert_eq!(
            (refused.code(), refused.message()),
            (Code::DataLoss, "etcdserver: corrupt cluster")
        );
        assert_eq!(self.get(LOST).await.kvs[0].value, "2");
    }

    /// A quorum was found to have all that this member has applied.
    async fn until_agreed(&self) {
        let agreed = until("the two agree", || async {
            let (agreed, applied) = (
                self.metric("vetch_state_agreed_index").await,
                self.metric("etcd_server_proposals_applied_total").await,
            );
            (agreed == applied).then_some(agreed)
        });
        assert!(agreed.await > 0);
    }
}

#[tokio::test]
async fn a_member_that_differs_stops_and_the_others_wait_for_the_operator() {
    let (cluster, wrong) = Cluster::with_one_wrong().await;
    cluster.until_it_stops(&wrong).await;

    let member = cluster.member(cluster.leader().await);
    let corrupt = AlarmMember { member_id: wrong.id, alarm: AlarmType::Corrupt.into() };
    until("the alarm is there", || async {
        (alarm(member, AlarmAction::Get, 0).await == [corrupt]).then_some(())
    })
    .await;
    member.assert_waits_for_the_operator().await;
    cluster.assert_it_does_not_start_again(&wrong).await;

    assert_eq!(alarm(member, AlarmAction::Deactivate, wrong.id).await, [corrupt]);
    member.put("k", "v").await;
    member.until_agreed().await;
    cluster.stop_all().await;
}
