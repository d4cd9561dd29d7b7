//! The hashes that compactions have taken: the last ten are kept.

use crate::engine::{Engine, Family};
use crate::error::Fatal;
use crate::schema::state::{self, CompactionHash, CompactionHashes, StateKey};
use crate::types::Revision;
use crate::view::HashKv;

/// The hash a compaction to this revision has taken, if it is one of the last ten.
pub(super) fn stored_hash<E: Engine>(
    engine: &E,
    revision: Revision,
) -> Result<Option<HashKv>, Fatal> {
    let mut hashes = compaction_hashes(engine)?.into_iter();
    Ok(hashes.find(|hash| hash.hash_revision == revision))
}

/// See `ReadView::compaction_hashes`.
pub(crate) fn compaction_hashes<E: Engine>(engine: &E) -> Result<Vec<HashKv>, Fatal> {
    let hash_kv = |stored: CompactionHash| HashKv {
        hash: stored.hash,
        compact_revision: stored.previous,
        hash_revision: Revision(stored.revision),
    };
    Ok(stored_hashes(engine)?.hashes.into_iter().map(hash_kv).collect())
}

/// The hashes of the last compactions, oldest first.
pub(crate) fn stored_hashes<E: Engine>(engine: &E) -> Result<CompactionHashes, Fatal> {
    let key = StateKey::CompactionHashes.encode();
    match engine.get(Family::State, &key)? {
        Some(value) => state::decode(&key, &value),
        None => Ok(CompactionHashes::default()),
    }
}

/// Adds a hash; the oldest of more than ten goes.
pub(crate) fn remember(hashes: &mut CompactionHashes, hash: CompactionHash) {
    const KEEP: usize = 10;
    hashes.hashes.retain(|stored| stored.revision != hash.revision);
    hashes.hashes.push(hash);
    hashes.hashes.sort_by_key(|stored| stored.revision);
    let surplus = hashes.hashes.len().saturating_sub(KEEP);
    hashes.hashes.drain(..surplus);
}
