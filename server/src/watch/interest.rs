//! Which live watchers a key concerns.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use vetch_storage::mvcc::key_range::KeyRange;

use super::interval_tree::IntervalTree;

/// A watcher's identity within the hub; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatcherKey(pub u64);

/// Watchers by what they watch: single keys in a hash map, ranges in an interval tree. Watchers of the
/// same keys share one entry, however many they are.
#[derive(Debug, Default)]
pub struct Interest {
    singles: HashMap<Bytes, BTreeSet<WatcherKey>>,
    ranges: IntervalTree<BTreeSet<WatcherKey>>,
}

impl Interest {
    /// Adds a watcher of `range`.
    pub fn add(&mut self, range: &KeyRange, watcher: WatcherKey) {
        let watchers = match range {
            KeyRange::Single(key) => self.singles.entry(key.clone()).or_default(),
            KeyRange::HalfOpen { .. } | KeyRange::From(_) => self.ranges.entry(range),
        };
        watchers.insert(watcher);
    }

    /// Removes it; nothing happens when it is not there.
    pub fn remove(&mut self, range: &KeyRange, watcher: WatcherKey) {
        match range {
            KeyRange::Single(key) => {
                if let Some(watchers) = self.singles.get_mut(key) {
                    watchers.remove(&watcher);
                    if watchers.is_empty() {
                        self.singles.remove(key);
                    }
                }
            }
            KeyRange::HalfOpen { .. } | KeyRange::From(_) => {
                if let Some(watchers) = self.ranges.get_mut(range) {
                    watchers.remove(&watcher);
                    if watchers.is_empty() {
                        self.ranges.remove(range);
                    }
                }
            }
        }
    }

    /// Calls `visit` with every watcher that `key` concerns; each once.
    pub fn concerned(&self, key: &[u8], visit: &mut impl FnMut(WatcherKey)) {
        if let Some(watchers) = self.singles.get(key) {
            watchers.iter().copied().for_each(&mut *visit);
        }
        self.ranges.containing(key, &mut |watchers| watchers.iter().copied().for_each(&mut *visit));
    }

    /// Whether nobody watches.
    pub fn is_empty(&self) -> bool {
        self.singles.is_empty() && self.ranges.is_empty()
    }
}
