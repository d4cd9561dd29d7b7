//! How far the run is.

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
    /// What the operator is at.
    operation: Option<String>,
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

    /// What the operator changes in the group right now: one thing at a time.
    pub fn operation(&self) -> Option<String> {
        self.progress.lock().operation.clone()
    }

    /// The operator begins something, goes on with the next step of it, or has done it.
    pub fn set_operation(&self, operation: Option<String>) {
        if let Some(operation) = &operation {
            self.trace.note(format_args!("operator: {operation}"));
        }
        self.progress.lock().operation = operation;
    }
}
