//! A member whose disk has lost something without a trace: no answer and no digest tells, only reading
//! everything again does.

use vetch_proto::etcdserverpb::alarm_request::AlarmAction;
use vetch_proto::etcdserverpb::{AlarmMember, AlarmType, CompactionRequest};
use vetch_server::node::{RunError, Sockets, run_at};

use crate::cluster::{Cluster, QUICK};
use crate::diverged::{LOST, alarm, lose};
use crate::member::{until, within};

impl Cluster {
    async fn with_data(flags: &[&str]) -> Self {
        let flags: Vec<&str> = QUICK.iter().chain(flags).copied().collect();
        let cluster = Self::start(3, &flags).await;
        for key in ["one", LOST, "two"] {
            cluster.member(0).put(key, "value").await;
        }
        cluster
    }

    /// A follower loses a key while it is down, and serves again.
    async fn lose(&mut self) -> usize {
        let at = self.follower().await;
        self.stop(at).await;
        lose(self.place(at).dir.path(), LOST);
        self.start_again(at).await;
        within("it serves", self.member(at).node.serving()).await;
        at
    }

    async fn alarms(&self) -> Vec<AlarmMember> {
        alarm(self.member(self.leader().await), AlarmAction::Get, 0).await
    }

    async fn until_named(&self, at: usize) {
        let named =
            AlarmMember { member_id: self.member(at).id().get(), alarm: AlarmType::Corrupt.into() };
        until("the member is named", || async {
            let alarms = self.alarms().await;
            assert!(alarms.iter().all(|alarm| *alarm == named), "{alarms:?}");
            (alarms == [named]).then_some(())
        })
        .await;
    }

    /// What the member has applied is right: its digest would not have told.
    async fn until_agreed(&self, at: usize) {
        until("its state is that of the others", || async {
            let status = self.member(at).node.api().replica.status();
            (status.agreed == status.applied).then_some(())
        })
        .await;
    }
}

/// `--corrupt-check-time`. As in etcd the member is named and goes on.
#[tokio::test]
async fn all_that_is_stored_is_compared_at_intervals() {
    let mut cluster = Cluster::with_data(&["--corrupt-check-time=100ms"]).await;
    let leader = cluster.leader().await;
    until("some comparisons", || async {
        let hashed =
            cluster.member(leader).metric("etcd_mvcc_hash_rev_duration_seconds_count").await;
        (hashed >= 3).then_some(())
    })
    .await;
    assert_eq!(cluster.alarms().await, [], "all is well");

    let at = cluster.lose().await;
    cluster.until_named(at).await;
    cluster.until_agreed(at).await;
    let (status, body) = cluster.member(at).http("/health").await.unwrap();
    assert_eq!((status, body.trim()), (503, r#"{"health":"false","reason":"ALARM CORRUPT"}"#));
    assert_eq!(cluster.member(at).get("one").await.kvs.len(), 1);
    cluster.stop_all().await;
}

/// The gate `CompactHashCheck`.
#[tokio::test]
async fn the_hashes_of_compactions_are_compared_at_intervals() {
    let flags = ["--feature-gates=CompactHashCheck=true", "--compact-hash-check-time=100ms"];
    let mut cluster = Cluster::with_data(&flags).await;
    let compact = async |cluster: &Cluster| {
        let member = cluster.member(cluster.leader().await);
        let revision = member.put("one", "again").await.revision;
        let request = CompactionRequest { revision, physical: true };
        member.kv().await.compact(request).await.unwrap();
    };
    compact(&cluster).await;
    assert_eq!(cluster.alarms().await, [], "all is well");
    let at = cluster.lose().await;
    compact(&cluster).await;
    cluster.until_named(at).await;
    cluster.until_agreed(at).await;
    cluster.stop_all().await;
}

/// The gate `InitialCorruptCheck`, case B5: who differs does not serve; who has what the others have does,
/// even beside one that differs.
#[tokio::test]
async fn a_member_that_differs_does_not_begin_to_serve() {
    const GATE: &str = "--feature-gates=InitialCorruptCheck=true";
    let mut cluster = Cluster::with_data(&[]).await;
    let at = cluster.lose().await;
    let sound = (0..3).find(|other| *other != at).unwrap();
    cluster.stop(sound).await;
    cluster.place_mut(sound).flags.push(GATE.to_owned());
    cluster.start_again(sound).await;
    within("the sound one serves", cluster.member(sound).node.serving()).await;
    assert_eq!(cluster.alarms().await, []);

    cluster.stop(at).await;
    cluster.place_mut(at).flags.push(GATE.to_owned());
    let config = cluster.place(at).config();
    let data_dir = config.data_dir.display().to_string();
    let sockets = Sockets::bind(&config.listen).unwrap();
    let serves = || panic!("it serves");
    let ended = Box::pin(run_at(sockets, config, serves, std::future::pending::<()>()));
    let said = within("it stops by itself", ended).await.unwrap_err();
    assert!(matches!(said, RunError::Fatal(_)), "{said}");
    let said = said.to_string();
    let named = format!("on member {:x}", cluster.member(sound).id().get());
    for part in ["corrupt data in the history stored in", &data_dir, &named, "from its peers"] {
        assert!(said.contains(part), "{said}");
    }
    cluster.stop_all().await;
}
