//! Durability in the background.

use std::sync::Arc;

use super::shared::Shared;
use crate::engine::Engine;
use crate::error::Fatal;
use crate::types::LogIndex;

/// What a checkpoint made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Everything up to here is on disk: the licence to purge the log.
    pub applied: LogIndex,
}

/// Makes state durable in the background. Send; independent of the applying task.
#[derive(Debug)]
pub struct Checkpointer<E: Engine> {
    shared: Arc<Shared<E>>,
}

impl<E: Engine> Checkpointer<E> {
    pub(super) fn new(shared: Arc<Shared<E>>) -> Self {
        Self { shared }
    }

    /// Flushes the engine and writes an index checkpoint (the latter only when enough has changed
    /// since the last). Blocking.
    pub fn checkpoint(&mut self) -> Result<Checkpoint, Fatal> {
        let applied = self.shared.engine.persist()?;
        Ok(Checkpoint { applied })
    }
}
