//! openraft's own conformance suite for log stores.

use std::io;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use openraft::entry::RaftEntry;
use openraft::storage::{EntryResponder, RaftStateMachine, Snapshot};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{AsyncRuntime, OptionalSend, RaftSnapshotBuilder, RaftTypeConfig, StorageError};
use openraft_rt_sim::SimRuntime;
use openraft_rt_tokio::TokioRuntime;

use crate::disk::sim::{SimDisk, Timing};
use crate::disk::{Disk, FsDisk, Unobserved};
use crate::log::{LogOptions, LogStore};
use crate::types::{CommittedLeaderId, Membership, RaftLogId, StoredMembership, TypeConfig};

type Meta = openraft::storage::SnapshotMeta<CommittedLeaderId, u64, ()>;
type Image = Snapshot<CommittedLeaderId, u64, (), ()>;

/// Remembers positions and memberships: all that the suite asks of a state machine.
#[derive(Clone, Debug, Default)]
struct Positions {
    applied: Option<RaftLogId>,
    membership: StoredMembership,
    shared: Arc<parking_lot::Mutex<Option<Meta>>>,
}

impl Positions {
    fn meta(&self) -> Meta {
        Meta { last_log_id: self.applied, last_membership: self.membership.clone() }
    }
}

impl<C: TestConfig> RaftSnapshotBuilder<C> for Positions {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> Result<Image, io::Error> {
        let meta = self.meta();
        *self.shared.lock() = Some(meta.clone());
        Ok(Image { meta, snapshot: () })
    }
}

/// `TypeConfig` over either runtime.
trait TestConfig:
    RaftTypeConfig<
        Entry = crate::types::Entry,
        LeaderId = crate::types::LeaderId,
        NodeId = u64,
        Node = (),
        Vote = crate::types::Vote,
        Payload = crate::types::Payload,
    >
{
}

impl<R: AsyncRuntime> TestConfig for TypeConfig<R> {}

impl<C: TestConfig> RaftStateMachine<C> for Positions {
    type SnapshotData = ();
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<RaftLogId>, StoredMembership), io::Error> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<C>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some(entry) = entries.next().await {
            let (entry, _) = entry?;
            self.applied = Some(entry.log_id());
            if let Some(membership) = entry.get_membership() {
                let membership: Membership = membership;
                self.membership = StoredMembership::new(self.applied, membership);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &Meta, (): ()) -> Result<(), io::Error> {
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        *self.shared.lock() = Some(meta.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Image>, io::Error> {
        Ok(self.shared.lock().clone().map(|meta| Image { meta, snapshot: () }))
    }
}

/// Segments so small that the suite crosses many, and no memory: everything is read back from disk.
const TIGHT: LogOptions = LogOptions { segment_bytes: 512, tail_bytes: 0, read_bytes: 200 };

struct OnFiles(LogOptions);

struct Simulated(LogOptions);

impl StoreBuilder<TypeConfig<SimRuntime>, LogStore, Positions> for Simulated {
    async fn build(
        &self,
    ) -> Result<((), LogStore, Positions), StorageError<TypeConfig<SimRuntime>>> {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::on_runtime::<SimRuntime>(7, Timing::default()));
        let store = LogStore::open(disk, self.0).await.unwrap();
        Ok(((), store, Positions::default()))
    }
}

impl StoreBuilder<TypeConfig<TokioRuntime>, LogStore, Positions, tempfile::TempDir> for OnFiles {
    async fn build(
        &self,
    ) -> Result<(tempfile::TempDir, LogStore, Positions), StorageError<TypeConfig<TokioRuntime>>>
    {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> =
            Arc::new(FsDisk::open(&dir.path().join("wal"), Arc::new(Unobserved)).unwrap());
        let store = LogStore::open(disk, self.0).await.unwrap();
        Ok((dir, store, Positions::default()))
    }
}

#[test]
fn the_suite_passes_on_files() {
    let options = LogOptions { segment_bytes: 1 << 20, ..LogOptions::default() };
    TokioRuntime::new(1).block_on(Suite::test_all(OnFiles(options))).unwrap();
}

#[test]
fn the_suite_passes_on_many_small_files() {
    TokioRuntime::new(1).block_on(Suite::test_all(OnFiles(TIGHT))).unwrap();
}

#[test]
fn the_suite_passes_on_the_simulated_disk() {
    for options in [LogOptions::default(), TIGHT] {
        SimRuntime::with_seed(1).block_on(async {
            Suite::test_all(Simulated(options)).await.unwrap();
        });
    }
}
