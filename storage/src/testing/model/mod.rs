//! The reference model: etcd's semantics as the shortest program that has them.
//!
//! It keeps every change of every key for ever and answers each question by walking over all of them.
//! It shares messages, ids, answers and errors with the state machine, and no logic. Where the two
//! differ, one of them is wrong; etcd says which.
//!
//! Comments give the subject a rule belongs to, in the order of etcd's API: §1 revisions and
//! transactions, §2 ranges, §4 compaction, §5 `HashKV`, §6 events, §7 leases, §9 alarms, §10 members.
//!
//! - `alarm`: what is raised and what that stops.
//! - `hash`: `HashKV`.
//! - `history`: records, what compaction leaves of them, events.
//! - `lease`: grants, revocations, attached keys.
//! - `member`: the member table.
//! - `range`: reads.
//! - `shape`: which transactions may enter the log.
//! - `txn`: path, checks, operations.
//! - `write`: puts and deletions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use vetch_proto::etcdserverpb::{CompactionRequest, Member};
use vetch_proto::vetchpb::proposal::Command;

use self::history::Record;
use self::lease::Ttl;
use crate::alarm::AlarmKind;
use crate::command::{Applied, Entry, LeaseChange, Response};
use crate::error::ApplyError;
use crate::event::{Event, EventBatch};
use crate::types::{LeaseId, LogId, NodeId, Revision};

mod alarm;
mod hash;
mod history;
mod lease;
mod member;
mod range;
mod shape;
#[cfg(test)]
mod tests;
mod txn;
mod write;

/// See the module's documentation. A clone is the state as of one entry.
///
/// **Invariant:** every history ascends by revision, and no record ever leaves it.
#[derive(Clone, Debug)]
pub struct Model {
    applied: LogId,
    revision: Revision,
    histories: BTreeMap<Bytes, Vec<Record>>,
    /// Every compaction that was carried out, ascending.
    compactions: Vec<Revision>,
    leases: BTreeMap<LeaseId, Ttl>,
    alarms: BTreeSet<(NodeId, AlarmKind)>,
    members: BTreeMap<u64, Member>,
    removed: BTreeSet<u64>,
    cluster_version: Option<String>,
    membership: Option<(LogId, Bytes)>,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            applied: LogId::default(),
            // §1: an empty store is at revision 1, so that the first write has 2.
            revision: Revision(1),
            histories: BTreeMap::new(),
            compactions: Vec::new(),
            leases: BTreeMap::new(),
            alarms: BTreeSet::new(),
            members: BTreeMap::new(),
            removed: BTreeSet::new(),
            cluster_version: None,
            membership: None,
        }
    }
}

/// What an entry has done, besides its answer.
#[derive(Default)]
struct Effects {
    events: Vec<Arc<EventBatch>>,
    lease_changes: Vec<LeaseChange>,
}

impl Model {
    /// The state before the first entry.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the entry at `id` must do.
    pub fn apply(&mut self, id: LogId, entry: Entry<'_>) -> Applied {
        self.applied = id;
        let mut effects = Effects::default();
        let response = match entry {
            Entry::Blank => Ok(Response::None),
            Entry::Membership { encoded, member, removed } => {
                self.change_membership(id, encoded, member, removed);
                Ok(Response::None)
            }
            Entry::Proposal(proposal) => match &proposal.command {
                Some(command) => self.command(id, command, &mut effects),
                None => Ok(Response::None),
            },
        };
        Applied {
            id,
            revision: self.revision,
            response,
            events: effects.events,
            lease_changes: effects.lease_changes,
        }
    }

    fn command(
        &mut self,
        id: LogId,
        command: &Command,
        effects: &mut Effects,
    ) -> Result<Response, ApplyError> {
        self.check_alarms(command)?;
        match command {
            Command::Put(request) => {
                self.check_put(request)?;
                let mut changes = Vec::new();
                let response = self.put(request, &mut changes);
                effects.events.extend(self.end_of_transaction(changes));
                Ok(Response::Put(response))
            }
            Command::DeleteRange(request) => {
                let mut changes = Vec::new();
                let response = self.delete_range(request, &mut changes);
                effects.events.extend(self.end_of_transaction(changes));
                Ok(Response::DeleteRange(response))
            }
            Command::Txn(request) => {
                let mut changes = Vec::new();
                let mut response = self.txn(request, &mut changes)?;
                effects.events.extend(self.end_of_transaction(changes));
                // §1: the outer header has the new revision, or the current one.
                response.header = Some(write::header(self.revision));
                Ok(Response::Txn(response))
            }
            Command::Compaction(request) => self.compact(*request),
            Command::LeaseGrant(request) => self.grant(*request, effects),
            Command::LeaseRevoke(request) => self.revoke(LeaseId(request.id), effects),
            Command::LeaseCheckpoint(request) => Ok(self.checkpoint(request, effects)),
            Command::LeaseExpire(request) => self.expire(id, request, effects),
            Command::Alarm(request) => Ok(Response::Alarm(self.alarm(*request))),
            Command::ClusterVersionSet(request) => {
                self.cluster_version = Some(request.version.clone());
                Ok(Response::None)
            }
            Command::MemberPublish(request) => {
                self.publish(request.member.as_ref());
                Ok(Response::None)
            }
            Command::MemberUpdate(request) => {
                self.update_member(request.id, &request.peer_ur_ls);
                Ok(Response::None)
            }
        }
    }

    /// §1: a transaction that changed something takes exactly one revision; others take none.
    fn end_of_transaction(&mut self, changes: Vec<Event>) -> Option<Arc<EventBatch>> {
        if changes.is_empty() {
            return None;
        }
        self.revision = Revision(self.revision.0 + 1);
        Some(Arc::new(EventBatch { revision: self.revision, events: changes }))
    }

    /// §4: not at or below an earlier compaction, not above the current revision. Before the first
    /// one the mark is −1, so that a compaction to 0 succeeds once. The revision stays.
    fn compact(&mut self, request: CompactionRequest) -> Result<Response, ApplyError> {
        let compact_revision = self.compact_mark();
        if request.revision <= compact_revision.0 {
            return Err(ApplyError::Compacted { compact_revision });
        }
        if request.revision > self.revision.0 {
            return Err(ApplyError::FutureRevision { current: self.revision });
        }
        self.compactions.push(Revision(request.revision));
        Ok(Response::Compaction)
    }

    /// The compacted revision as etcd counts it: −1 before any compaction.
    fn compact_mark(&self) -> Revision {
        self.compactions.last().copied().unwrap_or(Revision(-1))
    }

    /// The newest entry.
    pub fn applied(&self) -> LogId {
        self.applied
    }

    /// The store's revision.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Every compaction so far, ascending; the last is the one in force.
    pub fn compactions(&self) -> &[Revision] {
        &self.compactions
    }
}
