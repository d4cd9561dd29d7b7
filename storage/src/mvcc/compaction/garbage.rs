//! What compacted changes have made superfluous.

use bytes::Bytes;

use super::Job;
use crate::engine::{Change, Family};
use crate::mvcc::footprint;
use crate::schema::change::{self, ChangeRecord};
use crate::schema::version;
use crate::types::RevisionKey;

#[derive(Default)]
pub(super) struct Garbage {
    pub(super) changes: Vec<Change>,
    pub(super) tombstones: Vec<(Bytes, RevisionKey)>,
    pub(super) bytes: u64,
    pub(super) versions: u64,
}

impl Garbage {
    /// What a change makes superfluous: the version it superseded, and itself if it is a deletion
    /// before the compacted revision.
    pub(super) fn collect(&mut self, change: &ChangeRecord, job: &Job) {
        let at = change.entry.modified;
        // What changes up to the previous compaction superseded went with that one.
        if let Some(previous) = change.previous.filter(|_| at.main > job.previous) {
            self.remove(&change.key, previous.at, previous.value_len);
        }
        if change.entry.tombstone && at.main < job.target {
            self.remove(&change.key, at, 0);
            self.tombstones.push((change.key.clone(), at));
        }
    }

    fn remove(&mut self, key: &Bytes, at: RevisionKey, value_len: u32) {
        self.bytes += footprint(key.len(), value_len as usize);
        self.versions += 1;
        self.changes
            .push(Change::Delete { family: Family::Versions, key: version::engine_key(key, at) });
        self.changes
            .push(Change::Delete { family: Family::Revisions, key: change::engine_key(at) });
    }
}
