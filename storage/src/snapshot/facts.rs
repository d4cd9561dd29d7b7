//! The replicated facts that are not versions of keys, as a view has them.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use crate::engine::Engine;
use crate::error::Fatal;
use crate::mvcc::hash::stored_hashes;
use crate::planted::Planted;
use crate::schema::state::{
    self, Boundary, ClusterVersion, LeaseRecord, Membership, Nothing, Progress, Reclaim, StateKey,
};
use crate::types::{NodeId, Revision};
use crate::view::ReadView;

/// Every record of the state family, as it is where no deletion is left to do: `live` is the sum of
/// the footprints of the versions beside it.
pub(super) fn records<E: Engine>(
    view: &ReadView<E>,
    live: u64,
) -> Result<Vec<(Bytes, Bytes)>, Fatal> {
    let mut records = Records::default();
    let state = view.state();
    records.progress(view);
    if let Some((id, encoded)) = &state.membership {
        let (term, index, encoded) = (id.term.0, id.index.0, encoded.clone());
        records.add(StateKey::Membership, &Membership { term, index, encoded });
    }
    if let Some(version) = &state.cluster_version {
        let version = String::from(Arc::as_ref(version));
        records.add(StateKey::ClusterVersion, &ClusterVersion { version });
    }
    let finished = state.compacted.unwrap_or(Revision::NEVER_COMPACTED).0;
    if let Some(compacted) = state.compacted {
        records.add(StateKey::Boundary, &Boundary { revision: compacted.0 });
        let mut hashes = stored_hashes(view.engine())?;
        hashes.hashes.retain(|hash| hash.revision <= compacted.0);
        records.add(StateKey::CompactionHashes, &hashes);
    }
    let reclaimed = state.written - live;
    let reclaim = Reclaim { finished, started: finished, cursor_main: 0, cursor_sub: 0, reclaimed };
    records.add(StateKey::Reclaim, &reclaim);
    for lease in state.leases.iter().filter(|_| !Planted::SnapshotWithoutLeases.is_on()) {
        let (ttl, remaining_ttl) = (lease.ttl, lease.remaining_ttl);
        records.add(StateKey::Lease(lease.id), &LeaseRecord { ttl, remaining_ttl });
    }
    for (member, kind) in state.alarms.iter() {
        records.add(StateKey::Alarm(member, kind), &Nothing {});
    }
    for member in state.members.iter() {
        records.add(StateKey::Member(NodeId(member.id)), member);
    }
    for id in state.members.removed() {
        records.add(StateKey::Removed(id), &Nothing {});
    }
    Ok(records.0)
}

#[derive(Default)]
struct Records(Vec<(Bytes, Bytes)>);

impl Records {
    fn add(&mut self, key: StateKey, message: &impl Message) {
        let (key, value, _) = state::encode(key, message);
        self.0.push((key, value));
    }

    fn progress<E: Engine>(&mut self, view: &ReadView<E>) {
        let state = view.state();
        let progress = Progress {
            term: state.applied.term.0,
            index: state.applied.index.0,
            revision: state.revision.0,
            digest: state.digest,
            written: state.written,
        };
        self.add(StateKey::Progress, &progress);
    }
}
