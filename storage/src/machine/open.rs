//! From an engine's bytes to a state.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use vetch_proto::etcdserverpb::Member;

use super::checkpoint::{CheckpointMark, IndexCheckpoint};
use super::state::State;
use crate::courtesy::courteously;
use crate::engine::{Engine, Family, Order};
use crate::error::Fatal;
use crate::mvcc::compaction::ReclaimState;
use crate::mvcc::index::{Builder, Index, IndexEntry};
use crate::mvcc::key_range::KeyRange;
use crate::planted::Planted;
use crate::schema::change::{self, ChangeRecord};
use crate::schema::checksum::corrupt;
use crate::schema::state::{
    self, Boundary, ClusterVersion, LeaseRecord, Membership, Progress, StateKey,
};
use crate::types::{LeaseId, LogId, LogIndex, Revision, RevisionKey, Term};

/// What opening finds.
pub(super) struct Loaded {
    pub(super) state: State,
    pub(super) reclaim: ReclaimState,
    /// The index checkpoint the index was made from.
    pub(super) checkpoint: Option<CheckpointMark>,
}

/// Reads everything; a fresh engine is the state before the first entry.
pub(super) fn load<E: Engine>(engine: &E, checkpoint: IndexCheckpoint) -> Result<Loaded, Fatal> {
    let mut state = State::default();
    for item in engine.scan(Family::State, (Bound::Unbounded, Bound::Unbounded), Order::Ascending) {
        let (key, value) = item?;
        load_fact(&mut state, &key, &value)?;
    }
    check_applied(engine, &state)?;
    if Planted::AppliesAgainAfterRestart.is_on() {
        state.applied.index.0 = state.applied.index.0.saturating_sub(1);
    }
    let reclaim = ReclaimState::load(engine)?;
    let checkpoint = checkpoint.fitting(state.applied.index, &reclaim);
    let mark = checkpoint.as_ref().map(|(revision, _)| CheckpointMark::new(*revision));
    let (index, changes) = load_index(engine, checkpoint, state.keyspace.revision)?;
    state.keyspace.index = index;
    state.keyspace.changes = changes;
    attach_leases(&mut state);
    Ok(Loaded { state, reclaim, checkpoint: mark })
}

fn load_fact(state: &mut State, key: &Bytes, value: &Bytes) -> Result<(), Fatal> {
    match StateKey::decode(key)? {
        StateKey::Progress => {
            let progress: Progress = state::decode(key, value)?;
            state.applied = log_id(progress.term, progress.index);
            state.keyspace.revision = Revision(progress.revision);
            state.keyspace.written = progress.written;
            state.digest = progress.digest;
        }
        StateKey::Membership => {
            let membership: Membership = state::decode(key, value)?;
            let id = log_id(membership.term, membership.index);
            state.membership = Some((id, membership.encoded));
        }
        StateKey::ClusterVersion => {
            let record: ClusterVersion = state::decode(key, value)?;
            state.cluster_version = Some(Arc::from(record.version));
        }
        StateKey::Boundary => {
            let boundary: Boundary = state::decode(key, value)?;
            state.keyspace.compacted = Some(Revision(boundary.revision));
        }
        StateKey::Lease(id) => {
            let lease: LeaseRecord = state::decode(key, value)?;
            state.keyspace.leases.grant(id, lease.ttl, lease.remaining_ttl);
        }
        StateKey::Alarm(member, kind) => {
            let state::Nothing {} = state::decode(key, value)?;
            state.alarms.activate(member, kind);
        }
        StateKey::Member(_) => {
            let member: Member = state::decode(key, value)?;
            state.members.set(member);
        }
        StateKey::Removed(id) => {
            let state::Nothing {} = state::decode(key, value)?;
            state.members.remove(id);
        }
        // The compactor's own.
        StateKey::Reclaim | StateKey::CompactionHashes | StateKey::Scheduled(_) => {}
    }
    Ok(())
}

fn log_id(term: u64, index: u64) -> LogId {
    LogId { term: Term(term), index: LogIndex(index) }
}

/// The engine's own idea of how far it is must be the state's: they were written together.
fn check_applied<E: Engine>(engine: &E, state: &State) -> Result<(), Fatal> {
    if engine.applied() == state.applied.index {
        return Ok(());
    }
    Err(corrupt(
        Family::State,
        &StateKey::Progress.encode(),
        &format!("applied index {}, as the engine says", engine.applied()),
        &format!("applied index {}", state.applied.index),
    ))
}

/// Brings a checkpoint up to date, or an empty index: of each key the newest change record wins. Also
/// how many changes that took.
fn load_index<E: Engine>(
    engine: &E,
    checkpoint: Option<(Revision, Index)>,
    revision: Revision,
) -> Result<(Index, u64), Fatal> {
    let (known, mut index) = checkpoint.unwrap_or((Revision::EMPTY_STORE, Index::new()));
    let from = RevisionKey { main: known.next(), sub: 0 };
    let (changes, last) = replay(engine, &mut index, from)?;
    check_revision(last.map_or(known, |last| last.main), revision)?;
    Ok((index, changes))
}

/// Takes the changes from `from` on into the index; how many, and the last one's place.
///
/// Changes come by revision and the tree wants them by key: they are sorted in runs, which bounds
/// memory, and a long run is merged into a new tree in one pass.
fn replay<E: Engine>(
    engine: &E,
    index: &mut Index,
    from: RevisionKey,
) -> Result<(u64, Option<RevisionKey>), Fatal> {
    const RUN: usize = 256 * 1024;
    let (mut changes, mut last) = (0, None);
    let mut run = Vec::new();
    let bounds = change::bounds(from, Revision(i64::MAX));
    for item in courteously(engine.scan(Family::Revisions, bounds, Order::Ascending)) {
        let (key, value) = item?;
        let change = ChangeRecord::decode(&key, &value)?;
        (changes, last) = (changes + 1, Some(change.entry.modified));
        run.push((change.key, change.entry));
        if run.len() == RUN {
            take_run(index, &mut run);
        }
    }
    take_run(index, &mut run);
    Ok((changes, last))
}

/// Takes a run of changes, in the order of history, into the index.
fn take_run(index: &mut Index, run: &mut Vec<(Bytes, IndexEntry)>) {
    // Stable: of equal keys the newest stays last.
    run.sort_by(|(a, _), (b, _)| a.cmp(b));
    if run.len() < index.len() / 16 {
        for (key, entry) in run.drain(..) {
            index.insert(&key, entry);
        }
        return;
    }
    let mut builder = Builder::new();
    let mut push = |key: &[u8], entry| assert!(builder.push(key, entry), "merged in key order");
    let mut old = index.cursor(&KeyRange::From(Bytes::new()));
    let mut known = old.next_entry();
    let mut changes = run.drain(..).peekable();
    while let Some((key, entry)) = changes.next() {
        if changes.peek().is_some_and(|(next, _)| *next == key) {
            continue;
        }
        while let Some((known_key, known_entry)) = known.filter(|(known, _)| *known < &key[..]) {
            push(known_key, known_entry);
            known = old.next_entry();
        }
        if known.is_some_and(|(known, _)| known == &key[..]) {
            known = old.next_entry();
        }
        push(&key, entry);
    }
    while let Some((known_key, known_entry)) = known {
        push(known_key, known_entry);
        known = old.next_entry();
    }
    drop(changes);
    *index = builder.finish();
}

/// The store's revision is that of its last change, which no compaction removes.
fn check_revision(found: Revision, revision: Revision) -> Result<(), Fatal> {
    if found == revision {
        return Ok(());
    }
    let place = RevisionKey { main: revision, sub: 0 };
    Err(corrupt(
        Family::Revisions,
        &change::engine_key(place),
        &format!("revision {revision} as the last, as the progress record says"),
        &format!("revision {found}"),
    ))
}

/// Hangs every live key on its lease.
fn attach_leases(state: &mut State) {
    if state.keyspace.leases.is_empty() {
        return;
    }
    let leases = &mut state.keyspace.leases;
    for (key, entry) in state.keyspace.index.range(&KeyRange::From(Bytes::new())) {
        if entry.lease != LeaseId::NONE && !entry.tombstone {
            leases.attach(entry.lease, &key);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::Version;

    fn entry(main: i64) -> IndexEntry {
        IndexEntry {
            created: Revision(main),
            modified: RevisionKey { main: Revision(main), sub: 0 },
            version: Version(1),
            lease: LeaseId::NONE,
            value_len: 1,
            tombstone: false,
        }
    }

    proptest! {
        #[test]
        fn a_run_leaves_the_newest_entry_of_each_key_however_it_is_taken(
            before in prop::collection::vec(0u16..600, 0..400),
            run in prop::collection::vec(0u16..600, 0..60),
        ) {
            let mut index = Index::new();
            let mut expected = std::collections::BTreeMap::new();
            for (main, key) in (2..).zip(&before) {
                index.insert(&Bytes::copy_from_slice(&key.to_be_bytes()), entry(main));
                expected.insert(key.to_be_bytes().to_vec(), entry(main));
            }
            let mut changes = Vec::new();
            for (main, key) in (1000..).zip(&run) {
                changes.push((Bytes::copy_from_slice(&key.to_be_bytes()), entry(main)));
                expected.insert(key.to_be_bytes().to_vec(), entry(main));
            }
            take_run(&mut index, &mut changes);
            let found: Vec<_> = index.range(&KeyRange::From(Bytes::new())).collect();
            let found: Vec<_> = found.into_iter().map(|(key, entry)| (key.to_vec(), entry)).collect();
            prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
            prop_assert!(changes.is_empty());
        }
    }
}
