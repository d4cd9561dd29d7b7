//! Where each live entry lies, and which term it has.

use std::collections::VecDeque;

use super::error::LogError;
use crate::types::{CommittedLeaderId, RaftLogId};

/// Where an entry's record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// The segment's epoch.
    pub(super) epoch: u64,
    /// Of the record, in its segment.
    pub(super) offset: u32,
    /// Of the whole record.
    pub(super) len: u32,
}

/// The live entries, by index.
///
/// **Invariant:** `positions[i]` is entry `first + i`; entries are consecutive. While there are none, `last` is
/// what the log ended with.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    first: u64,
    positions: VecDeque<Position>,
    /// Where each term begins among the live entries: (index, term).
    terms: VecDeque<(u64, u64)>,
    purged: Option<RaftLogId>,
    /// Meaningful only while `positions` is empty.
    last: Option<RaftLogId>,
}

impl Index {
    /// A log of which everything up to `last` lies elsewhere.
    pub(super) fn after(purged: Option<RaftLogId>, last: Option<RaftLogId>) -> Self {
        Self { first: next(last.as_ref()), purged, last, ..Self::default() }
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// One past the last entry.
    pub(super) fn end(&self) -> u64 {
        self.first + self.positions.len() as u64
    }

    pub(super) fn purged(&self) -> Option<RaftLogId> {
        self.purged
    }

    pub(super) fn last(&self) -> Option<RaftLogId> {
        match self.terms.back() {
            Some((_, term)) => Some(RaftLogId::new(CommittedLeaderId::new(*term), self.end() - 1)),
            None => self.last,
        }
    }

    pub(super) fn position(&self, index: u64) -> Option<Position> {
        let at = usize::try_from(index.checked_sub(self.first)?).ok()?;
        self.positions.get(at).copied()
    }

    pub(super) fn front(&self) -> Option<Position> {
        self.positions.front().copied()
    }

    /// Whether `index` may come next: the follower of the last entry, or anything in a log that never had one.
    pub(super) fn check_next(&self, index: u64) -> Result<(), LogError> {
        let last = self.last().map(|id| id.index);
        match last {
            Some(last) if last + 1 != index => {
                Err(LogError::Hole { last: Some(last), found: index })
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn push(&mut self, id: &RaftLogId, position: Position) -> Result<(), LogError> {
        self.check_next(id.index)?;
        if self.positions.is_empty() {
            self.first = id.index;
        }
        self.positions.push_back(position);
        if self.terms.back().is_none_or(|(_, term)| *term != id.leader_id.term) {
            self.terms.push_back((id.index, id.leader_id.term));
        }
        Ok(())
    }

    /// Drops entries after `after`; a position beyond the end drops nothing.
    pub(super) fn truncate(&mut self, after: Option<RaftLogId>) {
        let after = after.filter(|after| after.index >= next(self.purged.as_ref())).or(self.purged);
        let end = next(after.as_ref());
        if end >= self.end() {
            return;
        }
        let kept = usize::try_from(end.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.positions.truncate(kept);
        while self.terms.back().is_some_and(|(first, _)| *first >= end) {
            self.terms.pop_back();
        }
        if self.positions.is_empty() {
            self.first = end;
            self.last = after;
        }
    }

    /// Drops entries up to `upto`; false when they were gone before.
    pub(super) fn purge(&mut self, upto: RaftLogId) -> bool {
        if self.purged.is_some_and(|purged| purged.index >= upto.index) {
            return false;
        }
        let last = self.last();
        self.purged = Some(upto);
        let first = upto.index + 1;
        let gone = usize::try_from(first.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.positions.drain(..gone.min(self.positions.len()));
        self.first = self.first.max(first);
        while self.terms.get(1).is_some_and(|(begin, _)| *begin <= first) {
            self.terms.pop_front();
        }
        if self.positions.is_empty() {
            self.terms.clear();
            self.last = last.filter(|last| last.index > upto.index).or(Some(upto));
            self.first = next(self.last.as_ref());
        } else if let Some(front) = self.terms.front_mut() {
            front.0 = self.first;
        }
        true
    }
}

fn next(id: Option<&RaftLogId>) -> u64 {
    id.map_or(0, |id| id.index + 1)
}
