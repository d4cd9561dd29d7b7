//! The sender's side.

use std::ops::Bound;

use bytes::Bytes;

use super::chunk::{ChunkWriter, Total};
use super::facts;
use crate::courtesy::courteously;
use crate::engine::{Engine, Family, Order};
use crate::error::Fatal;
use crate::mvcc;
use crate::mvcc::history::is_kept;
use crate::planted::Planted;
use crate::schema::change::{self, ChangeRecord};
use crate::schema::checksum::corrupt;
use crate::schema::version::{self, VersionRecord};
use crate::types::{LogId, RevisionKey};
use crate::view::ReadView;

/// Reads a view out, chunk by chunk. While it lives it pins the view: nothing it can read is deleted.
///
/// Each call reads on from where the last one ended, so it may run for hours beside everything else.
/// Blocking.
#[derive(Debug)]
pub struct Export<E: Engine> {
    view: ReadView<E>,
    at: At,
    number: u32,
    total: Total,
    /// Footprints of the versions so far.
    live: u64,
}

/// What comes next.
#[derive(Clone, Debug)]
enum At {
    /// Changes from this place on.
    Revisions(RevisionKey),
    /// Versions behind this engine key.
    Versions(Bound<Bytes>),
    /// Everything else, and the end.
    State,
    Done,
}

impl<E: Engine> Export<E> {
    /// Of all that `view` shows.
    pub fn new(view: ReadView<E>) -> Self {
        let at = At::Revisions(RevisionKey::default());
        Self { view, at, number: 0, total: Total::default(), live: 0 }
    }

    /// The newest entry whose effects are in it.
    pub fn applied(&self) -> LogId {
        self.view.applied()
    }

    /// The next chunk, of about `budget` bytes; `None` after the last. The same view gives the same
    /// contents, however they are cut.
    pub fn next_chunk(&mut self, budget: usize) -> Result<Option<Bytes>, Fatal> {
        let budget = budget.max(1);
        let mut chunk = ChunkWriter::new(self.number);
        while chunk.len() < budget {
            self.at = match std::mem::replace(&mut self.at, At::Done) {
                At::Revisions(from) => self.revisions(from, &mut chunk, budget)?,
                At::Versions(from) => self.versions(from, &mut chunk, budget)?,
                At::State => {
                    self.state(&mut chunk)?;
                    break;
                }
                At::Done if chunk.is_empty() => return Ok(None),
                At::Done => break,
            };
        }
        self.number += 1;
        Ok(Some(chunk.finish()))
    }

    fn revisions(
        &mut self,
        from: RevisionKey,
        chunk: &mut ChunkWriter,
        budget: usize,
    ) -> Result<At, Fatal> {
        let view = self.view.clone();
        let reader = view.reader();
        let bounds = change::bounds(from, reader.revision);
        let scan = reader.engine.scan(Family::Revisions, bounds, Order::Ascending);
        for item in courteously(scan) {
            let (key, value) = item?;
            let change = ChangeRecord::decode(&key, &value)?;
            if chunk.len() >= budget {
                return Ok(At::Revisions(change.entry.modified));
            }
            if is_kept(&reader, &change)? {
                self.pair(chunk, Family::Revisions, &key, &value);
            }
        }
        let without_versions = Planted::SnapshotWithoutVersions.is_on();
        Ok(if without_versions { At::State } else { At::Versions(Bound::Unbounded) })
    }

    fn versions(
        &mut self,
        from: Bound<Bytes>,
        chunk: &mut ChunkWriter,
        budget: usize,
    ) -> Result<At, Fatal> {
        let view = self.view.clone();
        let reader = view.reader();
        let mut last = from.clone();
        let bounds = (from, Bound::Unbounded);
        let scan = reader.engine.scan(Family::Versions, bounds, Order::Ascending);
        for item in courteously(scan) {
            if chunk.len() >= budget {
                return Ok(At::Versions(last));
            }
            let (engine_key, value) = item?;
            let (record, long_key) = VersionRecord::decode(&engine_key, &value)?;
            let Some(key) = long_key.or_else(|| version::short_key(&engine_key)) else {
                return Err(corrupt(Family::Versions, &engine_key, "a version's key", "another"));
            };
            let footprint = mvcc::footprint(key.len(), record.value.len());
            let change = ChangeRecord { key, entry: record.entry(), previous: None, hash: 0 };
            if change.entry.modified.main <= reader.revision && is_kept(&reader, &change)? {
                self.pair(chunk, Family::Versions, &engine_key, &value);
                self.live += footprint;
            }
            last = Bound::Excluded(engine_key);
        }
        Ok(At::State)
    }

    fn state(&mut self, chunk: &mut ChunkWriter) -> Result<(), Fatal> {
        for (key, value) in facts::records(&self.view, self.live)? {
            self.pair(chunk, Family::State, &key, &value);
        }
        chunk.end(self.total);
        Ok(())
    }

    fn pair(&mut self, chunk: &mut ChunkWriter, family: Family, key: &[u8], value: &[u8]) {
        self.total.add(family, key, value);
        chunk.pair(family, key, value);
    }
}
