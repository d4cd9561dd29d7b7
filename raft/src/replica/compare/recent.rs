//! What this member's state was lately, in short.

use std::collections::VecDeque;

use parking_lot::Mutex;
use vetch_proto::vetchpb::StateDigest;
use vetch_storage::{LogIndex, Revision};

use crate::types::{log_index, raft_index};

/// Every member notes its state at the multiples of this position: between two that can be compared
/// whatever the load lie fewer revisions than a divergence may stay unseen.
pub(crate) const SPACING: u64 = 256;
/// Marks kept of each kind. The regular ones reach back for as long as a member may be behind and still
/// be compared.
const KEPT: usize = 32;

/// The state at one position of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) index: LogIndex,
    pub(crate) revision: Revision,
    /// The running digest.
    pub(crate) digest: u64,
}

impl Mark {
    /// `None` before the log.
    fn encode(self) -> Option<StateDigest> {
        let Self { index, revision, digest } = self;
        let index = raft_index(index)?;
        Some(StateDigest { index, revision: revision.0, digest })
    }

    fn decode(sent: StateDigest) -> Self {
        let StateDigest { index, revision, digest } = sent;
        Self { index: log_index(index), revision: Revision(revision), digest }
    }
}

/// On the wire.
pub(crate) fn encode(marks: &[Mark]) -> Vec<StateDigest> {
    marks.iter().copied().filter_map(Mark::encode).collect()
}

/// From the wire, where it may be in any order.
pub(crate) fn decode(sent: Vec<StateDigest>) -> Vec<Mark> {
    let mut marks: Vec<Mark> = sent.into_iter().map(Mark::decode).collect();
    marks.sort_by_key(|mark| mark.index);
    marks.dedup_by_key(|mark| mark.index);
    marks
}

/// The marks of the state in use. Regular ones lie at positions that all members note. Under little load
/// these are far apart in time; then batches are single entries, and their ends are alike too.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    rings: Mutex<Rings>,
}

#[derive(Debug, Default)]
struct Rings {
    regular: VecDeque<Mark>,
    ends: VecDeque<Mark>,
}

impl Recent {
    /// Another state is in use from now on: what the one before it was is no fact about it.
    pub(crate) fn begin(&self, mark: Mark) {
        let mut rings = self.rings.lock();
        *rings =
            Rings { regular: VecDeque::with_capacity(KEPT), ends: VecDeque::with_capacity(KEPT) };
        rings.ends.push_back(mark);
    }

    /// Whether the state after this entry is to be noted wherever a batch ends.
    pub(crate) const fn is_regular(index: LogIndex) -> bool {
        index.0.is_multiple_of(SPACING)
    }

    /// Notes the state at a regular position.
    pub(crate) fn note(&self, mark: Mark) {
        push(&mut self.rings.lock().regular, mark);
    }

    /// Notes the state at the end of a batch.
    pub(crate) fn note_end(&self, mark: Mark) {
        push(&mut self.rings.lock().ends, mark);
    }

    /// All of them, ascending.
    pub(crate) fn marks(&self) -> Vec<Mark> {
        let mut marks: Vec<Mark> = {
            let rings = self.rings.lock();
            rings.regular.iter().chain(&rings.ends).copied().collect()
        };
        marks.sort_by_key(|mark| mark.index);
        marks.dedup_by_key(|mark| mark.index);
        marks
    }
}

/// Never more than the room that was made at first: nothing is allocated while entries are applied.
fn push(ring: &mut VecDeque<Mark>, mark: Mark) {
    if ring.len() == KEPT {
        ring.pop_front();
    }
    ring.push_back(mark);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(index: u64) -> Mark {
        Mark { index: LogIndex(index), revision: Revision(1), digest: index }
    }

    #[test]
    fn the_newest_of_each_kind_are_kept_in_order() {
        let recent = Recent::default();
        recent.begin(mark(10));
        for index in 11..=256 * 40 {
            if Recent::is_regular(LogIndex(index)) {
                recent.note(mark(index));
            }
            recent.note_end(mark(index));
        }
        let marks = recent.marks();
        assert!(marks.is_sorted_by(|one, next| one.index < next.index));
        let regular = marks.iter().filter(|mark| Recent::is_regular(mark.index)).count();
        assert_eq!((regular, marks.len()), (KEPT, 2 * KEPT - 1));
        recent.begin(mark(20_000));
        assert_eq!(recent.marks(), [mark(20_000)]);
    }

    #[test]
    fn what_is_sent_is_read_and_nothing_lies_before_the_log() {
        let marks = [mark(1), mark(256)];
        assert_eq!(decode(encode(&marks)), marks);
        assert_eq!(encode(&[mark(0)]), []);
    }
}
