//! What is applied but not yet in the engine.

use bytes::Bytes;
use prost::Message;

use super::state::State;
use crate::engine::{Batch, Change, Family};
use crate::mvcc::reader::PendingVersion;
use crate::schema::state::{self, Progress, StateKey};
use crate::types::LogId;

/// The open engine batch, and its versions in readable form for entries that follow in the batch.
#[derive(Debug, Default)]
pub(crate) struct OpenBatch {
    changes: Vec<Change>,
    pub(crate) versions: Vec<PendingVersion>,
    digest: Digest,
}

impl OpenBatch {
    /// Adds an encoded record.
    pub(crate) fn put(&mut self, family: Family, (key, value, crc): (Bytes, Bytes, u32)) {
        self.digest.fold(u64::from(crc));
        self.changes.push(Change::Put { family, key, value });
    }

    /// Adds a fact.
    pub(crate) fn put_state(&mut self, key: StateKey, message: &impl Message) {
        self.put(Family::State, state::encode(key, message));
    }

    /// Removes a fact.
    pub(crate) fn delete_state(&mut self, key: StateKey) {
        let key = key.encode();
        self.digest.fold(u64::from(crc32fast::hash(&key)) | DELETION);
        self.changes.push(Change::Delete { family: Family::State, key });
    }

    /// Ends an entry: also one that changed nothing moves the digest.
    pub(crate) fn fold_entry(&mut self, id: LogId) {
        self.digest.fold(id.term.0 | ENTRY);
        self.digest.fold(id.index.0);
    }

    /// The running digest, this batch included, given the one before it.
    pub(crate) fn digest_after(&self, before: u64) -> u64 {
        self.digest.folded.iter().fold(before, |digest, fact| mix(digest ^ fact))
    }

    /// Ends the batch: what the engine must write, the progress included.
    pub(crate) fn take(&mut self, state: &mut State) -> Batch {
        state.digest = self.digest_after(state.digest);
        let progress = Progress {
            term: state.applied.term.0,
            index: state.applied.index.0,
            revision: state.keyspace.revision.0,
            digest: state.digest,
            written: state.keyspace.written,
        };
        let (key, value, _) = state::encode(StateKey::Progress, &progress);
        let mut changes = std::mem::take(&mut self.changes);
        changes.push(Change::Put { family: Family::State, key, value });
        self.versions.clear();
        self.digest.folded.clear();
        Batch { changes, applied: Some(state.applied.index) }
    }
}

const DELETION: u64 = 1 << 32;
const ENTRY: u64 = 1 << 63;

/// What the running digest still has to take in, in order.
#[derive(Debug, Default)]
struct Digest {
    folded: Vec<u64>,
}

impl Digest {
    fn fold(&mut self, fact: u64) {
        self.folded.push(fact);
    }
}

/// The finaliser of splitmix64: a bijection in which each input bit moves each output bit.
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
