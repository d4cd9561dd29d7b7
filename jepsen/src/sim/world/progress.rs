//! How far the run is.

use std::collections::{BTreeMap, BTreeSet};

use super::World;
use crate::history::Revision;

#[derive(Debug, Default)]
pub(super) struct Progress {
    ended: bool,
    /// Watchers that have not been told everything yet.
    watchers: usize,
    /// What they have to be told.
    watch_until: Option<Revision>,
    compacted: Revision,
    /// What operators are at, by their numbers.
    operations: BTreeMap<u64, Operation>,
    /// Operators there have been.
    operators: u64,
    /// The newest id that an operator has chosen for a member.
    pub(super) chosen: u64,
    /// Members that led when they were made to stand still, until they go on.
    still: BTreeSet<u64>,
}

/// What an operator is at.
#[derive(Debug)]
struct Operation {
    /// Whom it is about.
    member: u64,
    /// It takes a member away: of such there is one at a time.
    takes: bool,
    what: String,
}

impl World {
    /// Whether clients stop now.
    pub fn has_ended(&self) -> bool {
        self.progress.lock().ended
    }

    /// Clients stop.
    pub fn end(&self) {
        self.progress.lock().ended = true;
    }

    /// The last revision that watchers wait for, once it is known.
    pub fn watched_until(&self) -> Option<Revision> {
        self.progress.lock().watch_until
    }

    /// Watchers stop when they have been told of this revision.
    pub fn watch_until(&self, last: Revision) {
        self.progress.lock().watch_until = Some(last);
    }

    /// One watcher more.
    pub fn watcher_began(&self) {
        self.progress.lock().watchers += 1;
    }

    /// One watcher has been told everything.
    pub fn watcher_ended(&self) {
        self.progress.lock().watchers -= 1;
    }

    /// Watchers that have not been told everything yet.
    pub fn watchers_left(&self) -> usize {
        self.progress.lock().watchers
    }

    /// The newest revision that the store was asked to compact.
    pub fn compacted(&self) -> Revision {
        self.progress.lock().compacted
    }

    /// The store is asked to compact.
    pub fn compacts(&self, revision: Revision) {
        let mut progress = self.progress.lock();
        progress.compacted = progress.compacted.max(revision);
    }

    /// A member that leads is made to stand still.
    pub fn leader_stands_still(&self, id: u64) {
        self.progress.lock().still.insert(id);
    }

    /// The member goes on, or is gone.
    pub fn goes_on(&self, id: u64) {
        self.progress.lock().still.remove(&id);
    }

    /// Whether somebody leads while another, which may not know it, stands still.
    pub fn leads_beside_one_that_stands_still(&self) -> bool {
        let still = self.progress.lock().still.clone();
        !still.is_empty() && self.leader().is_some_and(|leader| !still.contains(&leader.id))
    }

    /// What operators change in the group right now.
    pub fn operations(&self) -> Vec<String> {
        let progress = self.progress.lock();
        progress.operations.values().map(|operation| operation.what.clone()).collect()
    }

    /// Whether one more operator may begin something that is about `member`, if there is one yet.
    pub fn may_operate(&self, member: Option<u64>, takes: bool) -> bool {
        let progress = self.progress.lock();
        let collides =
            |operation: &Operation| Some(operation.member) == member || (takes && operation.takes);
        progress.operations.len() < self.shape.operators
            && !progress.operations.values().any(collides)
    }

    /// An operator begins something; its number.
    pub fn begin_operation(&self, member: Option<u64>, takes: bool, what: String) -> u64 {
        self.trace.note(format_args!("operator: {what}"));
        let mut progress = self.progress.lock();
        progress.operators += 1;
        let number = progress.operators;
        progress.operations.insert(number, Operation { member: member.unwrap_or(0), takes, what });
        number
    }

    /// The operator goes on with the next step, which is about `member`.
    pub fn go_on_with_operation(&self, number: u64, member: u64, what: String) {
        self.trace.note(format_args!("operator {number}: {what}"));
        if let Some(operation) = self.progress.lock().operations.get_mut(&number) {
            (operation.member, operation.what) = (member, what);
        }
    }

    /// The operator has done it.
    pub fn end_operation(&self, number: u64) {
        self.progress.lock().operations.remove(&number);
    }
}
