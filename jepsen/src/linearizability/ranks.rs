//! The unplaced calls in the order their answers claim.

use super::model::Rank;
use std::collections::BTreeSet;

/// Which unplaced call has the lowest latest rank.
#[derive(Debug)]
pub(super) struct Ranks {
    latest: Vec<Option<i64>>,
    unplaced: BTreeSet<(i64, usize)>,
}

impl Ranks {
    /// From the ranks of all calls, by position.
    pub(super) fn new(ranks: impl Iterator<Item = Option<Rank>>) -> Self {
        let latest: Vec<Option<i64>> = ranks.map(|rank| rank.map(|rank| rank.latest)).collect();
        let known = latest.iter().enumerate();
        let unplaced = known.filter_map(|(call, latest)| Some(((*latest)?, call))).collect();
        Self { latest, unplaced }
    }

    /// An unplaced call that cannot come after one of this rank.
    pub(super) fn surely_before(&self, rank: Rank) -> Option<usize> {
        self.unplaced.first().filter(|(latest, _)| *latest < rank.earliest).map(|(_, call)| *call)
    }

    /// The unplaced calls of the lowest latest rank.
    pub(super) fn first(&self) -> impl Iterator<Item = usize> {
        let lowest = self.unplaced.first().map(|(latest, _)| *latest);
        let is_lowest = move |entry: &&(i64, usize)| Some(entry.0) == lowest;
        self.unplaced.iter().take_while(is_lowest).map(|(_, call)| *call)
    }

    /// Notes that a call was placed.
    pub(super) fn remove(&mut self, call: usize) {
        if let Some(latest) = self.latest[call] {
            self.unplaced.remove(&(latest, call));
        }
    }

    /// Notes that it was taken back.
    pub(super) fn restore(&mut self, call: usize) {
        if let Some(latest) = self.latest[call] {
            self.unplaced.insert((latest, call));
        }
    }
}
