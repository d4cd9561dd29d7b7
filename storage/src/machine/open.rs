//! From an engine's bytes to a state.

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use vetch_proto::etcdserverpb::Member;

use super::checkpoint;
use super::state::State;
use crate::engine::{Engine, Family, Order};
use crate::error::Fatal;
use crate::mvcc::compaction::ReclaimState;
use crate::mvcc::index::Index;
use crate::mvcc::key_range::KeyRange;
use crate::schema::change::{self, ChangeRecord};
use crate::schema::checksum::corrupt;
use crate::schema::state::{
    self, Boundary, ClusterVersion, LeaseRecord, Membership, Progress, StateKey,
};
use crate::types::{LeaseId, LogId, LogIndex, Revision, RevisionKey, Term};

/// Reads everything; a fresh engine is the state before the first entry.
pub(super) fn load<E: Engine>(
    engine: &E,
    checkpoint_dir: Option<&Path>,
) -> Result<(State, ReclaimState), Fatal> {
    let mut state = State::default();
    for item in engine.scan(Family::State, (Bound::Unbounded, Bound::Unbounded), Order::Ascending) {
        let (key, value) = item?;
        load_fact(&mut state, &key, &value)?;
    }
    check_applied(engine, &state)?;
    let reclaim = ReclaimState::load(engine)?;
    let checkpoint = match checkpoint_dir {
        Some(directory) => checkpoint::read(directory, state.applied.index, &reclaim)?,
        None => None,
    };
    state.keyspace.index = load_index(engine, checkpoint, state.keyspace.revision)?;
    attach_leases(&mut state);
    Ok((state, reclaim))
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

/// Brings a checkpoint up to date, or an empty index: of each key the newest change record wins.
fn load_index<E: Engine>(
    engine: &E,
    checkpoint: Option<(Revision, Index)>,
    revision: Revision,
) -> Result<Index, Fatal> {
    let (known, mut index) = checkpoint.unwrap_or((Revision::EMPTY_STORE, Index::new()));
    let from = RevisionKey { main: known.next(), sub: 0 };
    let last = replay(engine, &mut index, from)?;
    check_revision(last.map_or(known, |last| last.main), revision)?;
    Ok(index)
}

/// Takes the changes from `from` on into the index; the last one's place.
fn replay<E: Engine>(
    engine: &E,
    index: &mut Index,
    from: RevisionKey,
) -> Result<Option<RevisionKey>, Fatal> {
    let mut last = None;
    let bounds = change::bounds(from, Revision(i64::MAX));
    for item in engine.scan(Family::Revisions, bounds, Order::Ascending) {
        let (key, value) = item?;
        let change = ChangeRecord::decode(&key, &value)?;
        last = Some(change.entry.modified);
        index.insert(&change.key, change.entry);
    }
    Ok(last)
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
