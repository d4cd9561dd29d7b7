//! Recent entries in memory: what is not durable yet, and as much more as the budget allows.

use std::collections::VecDeque;

use super::{Durable, Entry, Index};
use crate::log::codec::entry_size;

/// **Invariant:** the entries are the last ones of the index, without a gap.
#[derive(Debug, Default)]
pub(super) struct Tail {
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Tail {
    /// The index of the first entry in memory, or the log's end.
    pub(super) fn first(&self, index: &Index) -> u64 {
        index.end() - self.entries.len() as u64
    }

    /// The entry, if it is in memory.
    pub(super) fn get(&self, index: &Index, at: u64) -> Option<&Entry> {
        let at = usize::try_from(at.checked_sub(self.first(index))?).ok()?;
        self.entries.get(at)
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.bytes += entry_size(&entry);
        self.entries.push_back(entry);
    }

    /// Forgets the oldest while over budget, but never what only memory has.
    pub(super) fn shrink(&mut self, budget: usize, index: &Index, durable: &Durable) {
        while self.bytes > budget {
            let Some(position) = index.position(self.first(index)) else { return };
            if !durable.covers(position) {
                return;
            }
            self.pop_front();
        }
    }

    /// Forgets what the index has truncated.
    pub(super) fn truncate(&mut self, index: &Index) {
        while self.entries.back().is_some_and(|entry| entry.log_id.index >= index.end()) {
            if let Some(entry) = self.entries.pop_back() {
                self.bytes -= entry_size(&entry);
            }
        }
    }

    /// Forgets what the index has purged.
    pub(super) fn purge(&mut self, index: &Index) {
        while self.entries.front().is_some_and(|entry| entry.log_id.index < index.first()) {
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= entry_size(&entry);
        }
    }
}
