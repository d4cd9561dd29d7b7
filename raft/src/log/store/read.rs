//! Reading entries: the recent ones from memory, older ones from their segments.

use std::io;
use std::ops::{Bound, RangeBounds};

use bytes::Bytes;
use futures::Stream;

use super::{LogStore, Shared, State};
use crate::log::codec::{decode_entry, entry_size};
use crate::log::error::{Corrupt, LogError};
use crate::log::index::Position;
use crate::log::{record, segment};
use crate::types::Entry;

/// A range of entries as `[from, to)`.
pub(super) fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(from) => *from,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(to) => *to,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}

/// The entries of `[from, to)`, read in bounded pieces as they are asked for.
pub(super) fn stream(
    store: LogStore,
    from: u64,
    to: u64,
) -> impl Stream<Item = Result<Entry, io::Error>> + Send {
    let start = (store, from, Vec::new().into_iter(), false);
    futures::stream::unfold(start, move |(store, from, mut piece, ended)| async move {
        if let Some(entry) = piece.next() {
            return Some((Ok(entry), (store, from, piece, ended)));
        }
        if ended {
            return None;
        }
        match store.read(from, to) {
            Ok(entries) => {
                let from = entries.last()?.log_id.index + 1;
                let mut piece = entries.into_iter();
                let first = piece.next()?;
                Some((Ok(first), (store, from, piece, false)))
            }
            Err(error) => Some((Err(error.into()), (store, from, piece, true))),
        }
    })
}

/// What to give back: positions to read first, then entries from memory.
struct Plan {
    from: u64,
    positions: Vec<Position>,
    entries: Vec<Entry>,
}

impl LogStore {
    /// The first entries of `[from, to)`, about as many as `read_bytes` allows but at least one; none
    /// only if the log has none of them. Entries purged before `from` are passed over.
    pub(super) fn read(&self, from: u64, to: u64) -> Result<Vec<Entry>, LogError> {
        loop {
            let plan = self.shared.plan(&self.shared.state.lock(), from, to);
            match self.shared.load(&plan) {
                Ok(mut entries) => {
                    entries.extend(plan.entries);
                    return Ok(entries);
                }
                // A purge may have removed the segment meanwhile: then there is less to read.
                Err(error) if self.bounds().0 <= plan.from => return Err(error),
                Err(_) => {}
            }
        }
    }
}

impl Shared {
    fn plan(&self, state: &State, from: u64, to: u64) -> Plan {
        let (from, to) = (from.max(state.index.first()), to.min(state.index.end()));
        let mut plan = Plan { from, positions: Vec::new(), entries: Vec::new() };
        let mut budget = self.options.read_bytes;
        for at in from..to {
            let cost = if let Some(entry) = state.tail.get(&state.index, at) {
                plan.entries.push(entry.clone());
                entry_size(entry)
            } else if let Some(position) = state.index.position(at) {
                plan.positions.push(position);
                position.len as usize
            } else {
                break;
            };
            budget = budget.saturating_sub(cost);
            if budget == 0 {
                break;
            }
        }
        plan
    }

    /// Reads the planned positions, neighbours together.
    fn load(&self, plan: &Plan) -> Result<Vec<Entry>, LogError> {
        let mut entries = Vec::with_capacity(plan.positions.len() + plan.entries.len());
        let mut at = plan.from;
        let adjacent =
            |a: &Position, b: &Position| a.epoch == b.epoch && a.offset + a.len == b.offset;
        for run in plan.positions.chunk_by(adjacent) {
            let (file, start) = (segment::file_name(run[0].epoch), run[0].offset);
            let len = run.iter().map(|position| position.len as usize).sum();
            let bytes = Bytes::from(self.disk.read(&file, u64::from(start), len)?);
            for position in run {
                entries.push(self.decode(&bytes, start, *position, at)?);
                at += 1;
            }
        }
        Ok(entries)
    }

    fn decode(
        &self,
        bytes: &Bytes,
        start: u32,
        position: Position,
        index: u64,
    ) -> Result<Entry, LogError> {
        let corrupt = |expected: String, found: String| -> LogError {
            let file = self.disk.path(&segment::file_name(position.epoch));
            Corrupt { file, offset: u64::from(position.offset), expected, found }.into()
        };
        let offset = (position.offset - start) as usize;
        let (_, payload) =
            record::record_at(bytes, offset, position.epoch).map_err(|absent| match absent {
                record::Absent::Nothing => corrupt("a record".to_owned(), "zeros".to_owned()),
                record::Absent::Damaged { expected, found, .. } => corrupt(expected, found),
            })?;
        let entry = decode_entry(&bytes.slice_ref(payload));
        match entry {
            Some(entry) if entry.log_id.index == index => Ok(entry),
            Some(entry) => {
                Err(corrupt(format!("entry {index}"), format!("entry {}", entry.log_id)))
            }
            None => Err(corrupt(format!("entry {index}"), "an unreadable entry".to_owned())),
        }
    }
}
