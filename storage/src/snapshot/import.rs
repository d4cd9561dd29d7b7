//! The receiver's side.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::chunk::{self, ChunkError, Item, Total};
use super::run::Run;
use crate::courtesy::courteously;
use crate::engine::{Batch, Change, Engine, Family, Order};
use crate::error::Fatal;
use crate::schema::checksum::corrupt;
use crate::schema::state::{self, Progress, StateKey};
use crate::types::{LogId, LogIndex, Revision, Term};

/// Fills an empty engine. **Invariant:** the engine has no applied position before everything is in
/// it, so one that was left half full is never taken for a state.
#[derive(Debug)]
pub struct Import<E: Engine> {
    engine: Arc<E>,
    run: Run,
    next: u32,
    total: Total,
    /// Written last, all at once.
    facts: Vec<(Bytes, Bytes)>,
}

/// A state that is complete and durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The newest entry whose effects are in it.
    pub applied: LogId,
    /// The store's revision.
    pub revision: Revision,
    /// The running digest, to be compared with the sender's.
    pub digest: u64,
}

/// Why an import does not go on.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ImportError {
    /// The chunk was not taken, and changed nothing.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// The engine holds something already.
    #[error("a snapshot is received into an empty engine only")]
    NotEmpty,
    /// What has come is not what was sent: the import must begin anew.
    #[error("the snapshot has {found} where the sender counted {expected}")]
    Incomplete {
        /// By the sender.
        expected: String,
        /// Here.
        found: String,
    },
    /// The sender's keys do not ascend.
    #[error("the snapshot has the keys of {family:?} in another order")]
    Unsorted {
        /// Where.
        family: Family,
    },
    /// The engine failed.
    #[error(transparent)]
    Fatal(#[from] Fatal),
}

impl<E: Engine> Import<E> {
    /// Into `engine`, which must be empty; about `run_bytes` are gathered before the engine is given
    /// them.
    pub fn new(engine: Arc<E>, run_bytes: usize) -> Result<Self, ImportError> {
        if engine.applied() != LogIndex(0) || total(engine.as_ref())? != Total::default() {
            return Err(ImportError::NotEmpty);
        }
        let (run, total) = (Run::new(run_bytes), Total::default());
        Ok(Self { engine, run, next: 0, total, facts: Vec::new() })
    }

    /// The number of the chunk that is due: where a broken transfer goes on.
    pub fn next(&self) -> u32 {
        self.next
    }

    /// The engine, once all is in it.
    pub fn into_engine(self) -> Arc<E> {
        self.engine
    }

    /// Whether the engine cannot keep up: the next chunk had better wait. It ends by itself.
    pub fn is_congested(&self) -> bool {
        self.engine.is_congested()
    }

    /// Takes the chunk that is due. With the last one the state is made durable, read back and
    /// compared, and `Some` says what it is. Blocking.
    pub fn take(&mut self, chunk: Bytes) -> Result<Option<Imported>, ImportError> {
        let items = chunk::read(chunk, self.next)?;
        let mut end = None;
        for item in courteously(items.into_iter()) {
            match item {
                Item::Pair { family, key, value } => {
                    self.total.add(family, &key, &value);
                    match family {
                        Family::State => self.facts.push((key, value)),
                        Family::Versions | Family::Revisions => {
                            self.run.add(self.engine.as_ref(), family, key, value)?;
                        }
                    }
                }
                Item::End(total) => end = Some(total),
            }
        }
        self.next += 1;
        end.map(|end| self.finish(end)).transpose()
    }

    fn finish(&mut self, sent: Total) -> Result<Imported, ImportError> {
        compare(sent, self.total)?;
        self.run.load(self.engine.as_ref())?;
        let imported = self.imported()?;
        let changes = std::mem::take(&mut self.facts)
            .into_iter()
            .map(|(key, value)| Change::Put { family: Family::State, key, value })
            .collect();
        self.engine.apply(Batch { changes, applied: Some(imported.applied.index) })?;
        self.engine.persist()?;
        compare(sent, total(self.engine.as_ref())?)?;
        Ok(imported)
    }

    fn imported(&self) -> Result<Imported, Fatal> {
        let key = StateKey::Progress.encode();
        let Some((_, value)) = self.facts.iter().find(|(found, _)| *found == key) else {
            return Err(corrupt(Family::State, &key, "a progress record", "none"));
        };
        let progress: Progress = state::decode(&key, value)?;
        Ok(Imported {
            applied: LogId { term: Term(progress.term), index: LogIndex(progress.index) },
            revision: Revision(progress.revision),
            digest: progress.digest,
        })
    }
}

fn compare(expected: Total, found: Total) -> Result<(), ImportError> {
    if expected == found {
        return Ok(());
    }
    let words = |total: Total| format!("{} records, sum {:016x}", total.pairs, total.sum);
    Err(ImportError::Incomplete { expected: words(expected), found: words(found) })
}

/// What an engine holds.
fn total<E: Engine>(engine: &E) -> Result<Total, Fatal> {
    let mut total = Total::default();
    for family in Family::ALL {
        let all = (Bound::Unbounded, Bound::Unbounded);
        for item in courteously(engine.scan(family, all, Order::Ascending)) {
            let (key, value) = item?;
            total.add(family, &key, &value);
        }
    }
    Ok(total)
}
