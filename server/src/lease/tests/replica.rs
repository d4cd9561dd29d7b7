//! Beside the real replica, on a simulated machine.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use openraft_rt_sim::SimRuntime;
use tokio_util::sync::CancellationToken;
use vetch_proto::etcdserverpb::{LeaseGrantRequest, Member, PutRequest};
use vetch_proto::vetchpb::Proposal;
use vetch_proto::vetchpb::proposal::Command;
use vetch_raft::platform::sim::Sim;
use vetch_raft::{ApplyObserver, AsyncRuntime, Replica, Settings, Start};
use vetch_storage::engine::mem::MemEngine;
use vetch_storage::{Applied, ClusterId, LeaseId, NodeId, ReadView};

use super::site::{SETTINGS, sleep_secs};
use crate::lease::Leases;
use crate::metrics::LeaseMetrics;

struct Observer(Arc<Leases<Sim>>);

impl ApplyObserver<Sim> for Observer {
    fn on_applied(&self, _: &ReadView<MemEngine>, applied: &[Arc<Applied>]) {
        self.0.on_applied(applied);
    }

    fn on_installed(&self, _: &ReadView<MemEngine>) {}
}

struct Member1 {
    replica: Replica<Sim>,
    leases: Arc<Leases<Sim>>,
    metrics: LeaseMetrics,
    stop: CancellationToken,
}

fn settings() -> Settings {
    Settings {
        id: NodeId(1),
        heartbeat_interval: Duration::from_millis(100),
        election_timeout: Duration::from_secs(1),
        request_timeout: Duration::from_secs(7),
        checkpoint_entries: 10_000,
        catchup_entries: 100,
        max_inflight_proposals: 5_000,
        max_inflight_bytes: 1 << 26,
        read_mode: vetch_raft::ReadMode::ReadIndex,
    }
}

async fn start(machine: &Sim) -> Member1 {
    let leases = Arc::new(Leases::new(SETTINGS, 1));
    let start = Start {
        data_dir: PathBuf::from("/data"),
        settings: settings(),
        cluster: ClusterId(7),
        member: Member { id: 1, ..Member::default() },
        peers: Vec::new(),
        bootstrap: vetch_raft::Bootstrap::New,
        observer: Arc::new(Observer(Arc::clone(&leases))),
    };
    let replica = Replica::open(machine.clone(), start).await.unwrap();
    let (metrics, stop) = (LeaseMetrics::default(), CancellationToken::new());
    drop(leases.start(replica.clone(), metrics.clone(), stop.clone()));
    Member1 { replica, leases, metrics, stop }
}

impl Member1 {
    async fn propose(&self, command: Command) {
        let proposal = Proposal { command: Some(command), ..Proposal::default() };
        assert!(self.replica.propose(proposal).await.unwrap().response.is_ok());
    }

    async fn grant(&self, id: i64, ttl: i64) {
        self.propose(Command::LeaseGrant(LeaseGrantRequest { id, ttl })).await;
        let key = format!("key of {id}").into();
        self.propose(Command::Put(PutRequest { key, lease: id, ..PutRequest::default() })).await;
    }

    fn left(&self) -> (usize, usize) {
        let view = self.replica.view();
        (view.leases().len(), view.index().live_len())
    }

    async fn stop(self) {
        self.stop.cancel();
        self.replica.shutdown().await;
    }
}

#[test]
fn a_lease_is_granted_renewed_and_expires_through_the_log() {
    SimRuntime::with_seed(1).block_on(async {
        let member = start(&Sim::new(1)).await;
        member.grant(1, 5).await;
        sleep_secs(4.0).await;
        assert_eq!(member.leases.remaining(LeaseId(1)).await.unwrap(), Some(0));
        assert_eq!(member.leases.renew(LeaseId(1)).await.unwrap(), Some(5));
        sleep_secs(4.9).await;
        assert_eq!(member.left(), (1, 1));
        sleep_secs(0.2).await;
        assert_eq!(member.left(), (0, 0));
        assert_eq!(member.leases.renew(LeaseId(1)).await.unwrap(), None);
        assert_eq!((member.metrics.expired.get(), member.metrics.renewed.get()), (1, 1));
        member.stop().await;
    });
}

#[test]
fn a_restarted_member_gives_the_ttl_again_and_a_checkpointed_rest_as_it_was() {
    SimRuntime::with_seed(2).block_on(async {
        let machine = Sim::new(2);
        let member = start(&machine).await;
        member.grant(1, 5).await;
        member.grant(2, 1000).await;
        sleep_secs(4.0).await;
        member.stop().await;
        let machine = machine.process_killed();
        let member = start(&machine).await;
        let left = member.leases.remaining(LeaseId(1)).await.unwrap();
        assert_eq!(left, Some(6), "the TTL and an election timeout");
        sleep_secs(6.2).await;
        assert_eq!(member.left(), (1, 1), "the short one is over");
        sleep_secs(295.0).await;
        member.stop().await;
        let member = start(&machine.process_killed()).await;
        let left = member.leases.remaining(LeaseId(2)).await.unwrap().unwrap();
        assert!((701..=702).contains(&left), "{left} s: the rest and an election timeout");
        member.stop().await;
    });
}

#[test]
fn ten_thousand_leases_due_at_once_go_within_a_second() {
    SimRuntime::with_seed(3).block_on(async {
        let member = start(&Sim::new(3)).await;
        for chunk in 0..10 {
            let grants = (1..=1000).map(|i| member.grant(chunk * 1000 + i, 60));
            futures::future::join_all(grants).await;
        }
        assert_eq!(member.left(), (10_000, 10_000));
        // The last was granted just now, the first a moment before.
        sleep_secs(61.0).await;
        assert_eq!(member.left(), (0, 0));
        assert_eq!(member.metrics.expired.get(), 10_000);
        member.stop().await;
    });
}
