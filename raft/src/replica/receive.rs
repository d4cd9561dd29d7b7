//! A whole state from the leader, chunk by chunk, into an engine beside the one in use.
//!
//! One state at a time. Each chunk is taken by a task of its own, so that neither a connection that
//! breaks nor a sender that loses patience cuts it short; the sender asks again and is told which chunk
//! is due. What is complete is read back, compared and opened before openraft hears of it.
//!
//! `inbox`: which state that is, and how far.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use openraft_rt::{AsyncRuntime, Instant};
use parking_lot::Mutex;
use vetch_proto::vetchpb::peer_reply::Reply;
use vetch_proto::vetchpb::{Refusal, SnapshotReply, SnapshotRequest, snapshot_reply::Outcome};
use vetch_storage::machine::IndexCheckpoint;
use vetch_storage::snapshot::{ChunkError, Import, ImportError, Imported};
use vetch_storage::{Fatal, StateMachine};

use super::Inner;
use super::compare::Unvouched;
use super::engines::Begun;
use super::service::stopping;
use crate::apply::snapshot::{Received, Snapshot, SnapshotState};
use crate::apply::{room, stored_membership};
use crate::platform::{InstantOf, Platform};
use crate::transport::observer::Way;
use crate::transport::wire::{self, Offer};
use crate::types::raft_log_id;

mod inbox;

use inbox::{Entered, Stage, Transfer};

pub(crate) use inbox::Inbox;

/// A chunk that takes longer than this is answered with "working".
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// A sender that is silent for this long is gone; its state begins anew another time.
const GONE_AFTER: Duration = Duration::from_mins(2);

impl<P: Platform> Inner<P> {
    /// Takes a chunk, or says what became of it.
    pub(super) async fn take_snapshot(
        self: &Arc<Self>,
        request: SnapshotRequest,
    ) -> Result<Reply, Refusal> {
        let reply = |outcome| Reply::Snapshot(SnapshotReply { outcome: Some(outcome) });
        let offer = wire::decode_offer(&request).map_err(|error| wire::unreadable(&error))?;
        let vote = self.raft.with_raft_state(|state| *state.vote_ref()).await;
        let vote = vote.map_err(|_stopped| stopping())?;
        if vote > offer.vote {
            return Ok(reply(Outcome::HigherVote(wire::encode_vote(&vote))));
        }
        let Entered { transfer, is_new, before } = match self.inbox.enter(offer, request.chunk) {
            Ok(entered) => entered,
            Err(outcome) => return Ok(reply(outcome)),
        };
        if is_new {
            tracing::info!(
                from = %format_args!("{:x}", transfer.offer.sender().0),
                state = %transfer.offer.meta,
                "this member lacks what no log has any more; receiving a whole state"
            );
            drop(P::Runtime::spawn(forget_when_silent(
                Arc::downgrade(self),
                Arc::clone(&transfer),
            )));
        }
        if let Some(before) = before {
            let inner = Arc::clone(self);
            drop(P::Runtime::spawn(async move { inner.abandon(&before).await }));
        }
        if !request.contents.is_empty() && transfer.begin_work(request.chunk) {
            transfer.begin(|| self.peers.state_begins(transfer.offer.sender(), Way::In));
            let (inner, transfer) = (Arc::clone(self), Arc::clone(&transfer));
            drop(P::Runtime::spawn(inner.work(transfer, request.contents)));
        }
        let settled = transfer.stage.until(|stage| *stage != Stage::Working);
        let stage = P::Runtime::timeout(ANSWER_WITHIN, Box::pin(settled)).await;
        Ok(reply(stage.unwrap_or(Stage::Working).into()))
    }

    /// Takes a chunk that is due. On a task of its own.
    async fn work(self: Arc<Self>, transfer: Arc<Transfer<P>>, contents: Bytes) {
        let stage = self.take_chunk(&transfer, contents).await.unwrap_or_else(|error| {
            tracing::error!(%error, state = %transfer.offer.meta, "a state from a peer cannot be taken");
            Stage::Failed(error.to_string())
        });
        let is_over = !matches!(stage, Stage::Due(_));
        if is_over {
            transfer.end(stage == Stage::Installed);
        }
        if is_over || !self.inbox.is_current(&transfer) {
            self.abandon(&transfer).await;
        }
        // Whoever waits for the end of the work waits for the engine to be closed, too.
        drop(self);
        transfer.stage.set(stage);
    }

    async fn take_chunk(
        &self,
        transfer: &Transfer<P>,
        contents: Bytes,
    ) -> Result<Stage, ReceiveError> {
        let begun = transfer.import.lock().take();
        let (generation, import) = match begun {
            Some(begun) => begun,
            None => self.begin_import().await?,
        };
        room::<P::Runtime>(|| import.is_congested()).await;
        let (taken, import) = self.platform.blocking(take(import, contents)).await;
        match taken {
            Ok(None)
            | Err(ImportError::Chunk(ChunkError::Damaged { .. } | ChunkError::OutOfOrder { .. })) =>
            {
                // One that came damaged, or again, changed nothing.
                let due = import.next();
                *transfer.import.lock() = Some((generation, import));
                Ok(Stage::Due(due))
            }
            Ok(Some(imported)) => {
                let installed =
                    self.install(transfer, generation, import.into_engine(), imported).await;
                if self.engines.in_use() != generation {
                    self.engines.remove(generation).await;
                }
                installed
            }
            Err(error) => {
                self.platform.blocking(move || drop(import)).await;
                self.engines.remove(generation).await;
                Err(error.into())
            }
        }
    }

    async fn begin_import(&self) -> Result<(u64, Import<P::Engine>), ReceiveError> {
        let Begun { generation, engine } = self.engines.begin().await?;
        let run_bytes = self.platform.snapshot_run_bytes();
        let import = self.platform.blocking(move || Import::new(engine, run_bytes)).await?;
        Ok((generation, import))
    }

    /// Opens a complete state and has openraft put it in use.
    async fn install(
        &self,
        transfer: &Transfer<P>,
        generation: u64,
        engine: Arc<P::Engine>,
        imported: Imported,
    ) -> Result<Stage, ReceiveError> {
        let Offer { vote, meta, digest, .. } = &transfer.offer;
        let options = self.engines.options(generation).await?;
        let open = move || StateMachine::open_with(engine, IndexCheckpoint::default(), options);
        let machine = self.platform.blocking(open).await?;
        let membership = stored_membership(&machine)?;
        let is_as_said = raft_log_id(imported.applied) == meta.last_log_id
            && imported.digest == *digest
            && machine.digest() == *digest
            && membership == meta.last_membership;
        let machine = Arc::new(Mutex::new(Some(machine)));
        let sender = transfer.offer.sender();
        let group = meta.last_membership.membership();
        let vouched = if is_as_said {
            self.vouched(sender, imported.applied.index, group).await.map_err(ReceiveError::from)
        } else {
            Err(ReceiveError::NotAsSaid)
        };
        let outcome = match vouched {
            Ok(()) => {
                let received = Received { generation, machine: Arc::clone(&machine) };
                let state = SnapshotState::Received(received);
                let snapshot = Snapshot { meta: meta.clone(), snapshot: state };
                let installed = self.raft.install_full_snapshot(*vote, snapshot).await;
                installed.map_err(|_stops| ReceiveError::Stops)
            }
            Err(refused) => Err(refused),
        };
        // Not wanted: this member has come further meanwhile, or another leads.
        let unwanted = machine.lock().take();
        self.platform.blocking(move || drop(unwanted)).await;
        let response = outcome?;
        Ok(if response.vote > *vote { Stage::Outvoted(response.vote) } else { Stage::Installed })
    }

    /// Closes and removes what a transfer has brought so far, if it is not in use.
    async fn abandon(&self, transfer: &Transfer<P>) {
        let Some((generation, import)) = transfer.import.lock().take() else { return };
        transfer.end(false);
        self.platform.blocking(move || drop(import)).await;
        self.engines.remove(generation).await;
    }
}

impl<P: Platform> Inbox<P> {
    /// Gives up what is being received, and takes nothing more.
    pub(super) async fn close(&self, inner: &Inner<P>) {
        if let Some(transfer) = self.shut() {
            transfer.stage.until(|stage| *stage != Stage::Working).await;
            inner.abandon(&transfer).await;
        }
    }
}

/// Gives a transfer up when its sender has been silent for too long.
async fn forget_when_silent<P: Platform>(inner: Weak<Inner<P>>, transfer: Arc<Transfer<P>>) {
    loop {
        P::Runtime::sleep(GONE_AFTER / 8).await;
        // Not held while it sleeps: it would keep a member that was shut down from closing.
        let Some(inner) = inner.upgrade() else { return };
        if !inner.inbox.is_current(&transfer) {
            return;
        }
        let is_silent = InstantOf::<P>::now() >= *transfer.heard.lock() + GONE_AFTER;
        if is_silent && transfer.stage.get() != Stage::Working {
            tracing::warn!(state = %transfer.offer.meta, "the sender of a state is gone; giving it up");
            inner.inbox.leave(&transfer);
            return inner.abandon(&transfer).await;
        }
    }
}

/// Why a state is not taken. The one in use stays.
#[derive(Debug, thiserror::Error)]
enum ReceiveError {
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error(transparent)]
    Fatal(#[from] Fatal),
    #[error("the state has another position, digest or membership than it was said to have")]
    NotAsSaid,
    #[error(transparent)]
    Unvouched(#[from] Unvouched),
    #[error("this member stops")]
    Stops,
}

type Taken = Result<Option<Imported>, ImportError>;

fn take<E: vetch_storage::Engine>(
    mut import: Import<E>,
    contents: Bytes,
) -> impl FnOnce() -> (Taken, Import<E>) {
    move || (import.take(contents), import)
}
