//! The driver beside a real replica, on virtual time.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use openraft_rt_sim::SimRuntime;
use tokio_util::sync::CancellationToken;
use vetch_proto::etcdserverpb::{Member, PutRequest};
use vetch_proto::vetchpb::Proposal;
use vetch_proto::vetchpb::proposal::Command;
use vetch_raft::platform::sim::Sim;
use vetch_raft::{ApplyObserver, AsyncRuntime, Replica, Settings, Start};
use vetch_storage::engine::mem::MemEngine;
use vetch_storage::{Applied, ClusterId, NodeId, ReadView, Revision};

use super::start;
use crate::config::AutoCompaction;

const MINUTE: Duration = Duration::from_mins(1);

struct Nobody;

impl ApplyObserver<Sim> for Nobody {
    fn on_applied(&self, _: &ReadView<MemEngine>, _: &[Arc<Applied>]) {}

    fn on_installed(&self, _: &ReadView<MemEngine>) {}
}

async fn replica() -> Replica<Sim> {
    let settings = Settings {
        id: NodeId(1),
        // Slow, for the minutes are many.
        heartbeat_interval: Duration::from_secs(10),
        election_timeout: MINUTE,
        request_timeout: Duration::from_secs(7),
        checkpoint_entries: 10_000,
        catchup_entries: 100,
        max_inflight_proposals: 5_000,
        max_inflight_bytes: 1 << 26,
        read_mode: vetch_raft::ReadMode::ReadIndex,
    };
    let start = Start {
        data_dir: PathBuf::from("/data"),
        settings,
        cluster: ClusterId(7),
        member: Member { id: 1, ..Member::default() },
        peers: Vec::new(),
        bootstrap: vetch_raft::Bootstrap::New,
        observer: Arc::new(Nobody),
    };
    Replica::open(Sim::new(1), start).await.unwrap()
}

/// One put a minute, in the middle of it; the compacted revision at the end of each.
fn compacted_by_minute(mode: AutoCompaction, minutes: usize) -> Vec<i64> {
    SimRuntime::with_seed(1).block_on(async {
        let (replica, stop) = (replica().await, CancellationToken::new());
        let driver = start(replica.clone(), mode, stop.clone()).unwrap();
        let mut compacted = Vec::new();
        for _ in 0..minutes {
            SimRuntime::sleep(MINUTE / 2).await;
            let put = PutRequest { key: "k".into(), ..PutRequest::default() };
            let command = Some(Command::Put(put));
            replica.propose(Proposal { command, ..Proposal::default() }).await.unwrap();
            SimRuntime::sleep(MINUTE / 2).await;
            compacted.push(replica.view().compact_revision().map_or(0, Revision::get));
        }
        stop.cancel();
        driver.await.unwrap();
        replica.shutdown().await;
        compacted
    })
}

#[test]
fn by_age_history_of_the_retention_is_kept_and_what_is_older_goes() {
    let compacted = compacted_by_minute(AutoCompaction::Periodic(10 * MINUTE), 45);
    assert!(compacted.is_sorted(), "{compacted:?}");
    for (minute, compacted) in (1i64..).zip(&compacted) {
        // After so many minutes the store is at revision 1 and so many.
        let a_retention_ago = 1 + (minute - 10).max(0);
        assert!(*compacted <= a_retention_ago, "{compacted} after {minute} minutes");
        let two_retentions_ago = minute - 20;
        assert!(*compacted >= two_retentions_ago, "{compacted} after {minute} minutes");
    }
    assert!(compacted.last() >= Some(&25), "{compacted:?}");
}

#[test]
fn by_number_of_revisions_the_newest_are_kept_and_the_others_go_every_five_minutes() {
    let compacted = compacted_by_minute(AutoCompaction::Revisions(3), 16);
    for (minute, compacted) in (1i64..).zip(&compacted) {
        // At the last fifth minute the store was at revision 1 and as many; a tick falls on the end
        // of a minute, before or after this look.
        let at = |minute: i64| (1 + minute / 5 * 5 - 3).max(0);
        let possible = [at(minute), at(minute - 1)];
        assert!(possible.contains(compacted), "{compacted} after {minute} minutes");
    }
    assert!(compacted.last() >= Some(&13), "{compacted:?}");
}

#[test]
fn switched_off_there_is_no_driver() {
    SimRuntime::with_seed(1).block_on(async {
        let replica = replica().await;
        let stop = CancellationToken::new();
        assert!(start(replica.clone(), AutoCompaction::Off, stop).is_none());
        replica.shutdown().await;
    });
}
