//! openraft's calls.

use std::io;
use std::marker::PhantomData;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use openraft::RaftSnapshotBuilder;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft_rt::AsyncRuntime;
use vetch_storage::Engine;

use super::snapshot::{self, Meta, SnapshotMarks, SnapshotState};
use super::{Applier, Batch, Config, MAX_BATCH, mark, room};
use crate::platform::{Platform, yield_now};
use crate::replica::compare::recent::Recent;
use crate::types::cause::into_io;
use crate::types::{RaftLogId, StoredMembership, TypeConfig, raft_log_id};

impl<P: Platform> RaftStateMachine<Config<P>> for Applier<P> {
    type SnapshotData = SnapshotState<P::Engine>;
    type SnapshotBuilder = SnapshotBuilder<P::Engine>;

    async fn applied_state(&mut self) -> Result<(Option<RaftLogId>, StoredMembership), io::Error> {
        Ok((raft_log_id(self.machine.applied()), self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Config<P>>, io::Error>> + Unpin + Send,
    {
        let mut batch =
            Batch::<P> { applied: Vec::new(), waiting: Vec::new(), awaited: Vec::new() };
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            let applied = self.apply_entry(entry, &mut batch).map_err(into_io)?;
            if Recent::is_regular(applied.id.index) {
                self.recent.note(mark(&self.machine));
            }
            if let Some(responder) = responder {
                batch.waiting.push((batch.applied.len(), responder));
            }
            batch.applied.push(Arc::new(applied));
            if batch.applied.len() == MAX_BATCH {
                room::<P::Runtime>(|| self.machine.is_congested()).await;
                self.flush(&mut batch).map_err(into_io)?;
                yield_now().await;
            }
        }
        room::<P::Runtime>(|| self.machine.is_congested()).await;
        self.flush(&mut batch).map_err(into_io)
    }

    async fn get_snapshot_builder(&mut self) -> Self::SnapshotBuilder {
        SnapshotBuilder { marks: Arc::clone(&self.marks), engine: PhantomData }
    }

    async fn install_snapshot(
        &mut self,
        meta: &Meta,
        state: SnapshotState<P::Engine>,
    ) -> Result<(), io::Error> {
        match state {
            SnapshotState::Received(received) => {
                self.install(meta, received).await.map_err(into_io)
            }
            // At the start, if what is applied were behind what was handed out as durable.
            SnapshotState::Durable | SnapshotState::Pinned(_) => {
                Err(io::Error::other(format!("{meta} is not a state from a peer")))
            }
        }
    }

    /// What there is now, pinned. Asked for at the start, for its position alone, and for each peer that
    /// is to be fed: then what the peer is told and what it gets belong together.
    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<snapshot::Snapshot<P::Engine>>, io::Error> {
        let view = self.machine.view();
        let meta = snapshot::meta(view.applied(), self.membership.clone());
        let pinned =
            |_| snapshot::Snapshot { meta: meta.clone(), snapshot: SnapshotState::Pinned(view) };
        Ok(meta.last_log_id.map(pinned))
    }
}

/// "Builds" a snapshot by saying where the durable state ends.
pub(crate) struct SnapshotBuilder<E> {
    marks: Arc<SnapshotMarks>,
    engine: PhantomData<fn() -> E>,
}

impl<R: AsyncRuntime, E: Engine> RaftSnapshotBuilder<TypeConfig<R>> for SnapshotBuilder<E> {
    type SnapshotData = SnapshotState<E>;

    async fn build_snapshot(&mut self) -> Result<snapshot::Snapshot<E>, io::Error> {
        // Asked for by our checkpointer alone, which has set the mark before.
        self.marks.durable().ok_or_else(|| io::Error::other("no checkpoint yet"))
    }
}
