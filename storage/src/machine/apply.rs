//! One entry, one method per command. Every refusal is decided before the first change.

use std::sync::Arc;

use bytes::Bytes;
use vetch_proto::etcdserverpb::alarm_request::AlarmAction;
use vetch_proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmResponse, AlarmType, CompactionRequest, DeleteRangeRequest,
    LeaseCheckpointRequest, LeaseGrantRequest, Member, MemberUpdateRequest, PutRequest,
    ResponseHeader, TxnRequest,
};
use vetch_proto::vetchpb::proposal::Command;
use vetch_proto::vetchpb::{LeaseExpire, Proposal};

use super::StateMachine;
use crate::alarm::AlarmKind;
use crate::command::{Applied, Entry, LeaseChange, Response};
use crate::engine::Engine;
use crate::error::{ApplyError, Fatal};
use crate::event::EventBatch;
use crate::mvcc::txn::{self, Path};
use crate::mvcc::write::Writer;
use crate::planted::Planted;
use crate::schema::state::{
    Boundary, ClusterVersion, LeaseRecord, Membership, Nothing, ScheduledCompaction, StateKey,
};
use crate::types::{LeaseId, LogId, NodeId, Revision};

/// What a command did, besides its changes of the state.
#[derive(Debug)]
struct Outcome {
    response: Result<Response, ApplyError>,
    events: Vec<Arc<EventBatch>>,
    lease_changes: Vec<LeaseChange>,
}

impl Outcome {
    fn of(response: Response) -> Self {
        Self { response: Ok(response), events: Vec::new(), lease_changes: Vec::new() }
    }

    fn refused(error: ApplyError) -> Self {
        Self { response: Err(error), events: Vec::new(), lease_changes: Vec::new() }
    }

    fn with_events(response: Response, events: Option<EventBatch>) -> Self {
        let events = events.map(Arc::new).into_iter().collect();
        Self { response: Ok(response), events, lease_changes: Vec::new() }
    }

    fn with_lease(mut self, change: LeaseChange) -> Self {
        self.lease_changes.push(change);
        self
    }
}

impl<E: Engine> StateMachine<E> {
    pub(super) fn apply_entry(&mut self, id: LogId, entry: Entry<'_>) -> Result<Applied, Fatal> {
        let outcome = match entry {
            Entry::Blank => Outcome::of(Response::None),
            Entry::Membership { encoded, member, removed } => {
                self.apply_membership(id, encoded, member, removed)
            }
            Entry::Proposal(proposal) => self.apply_proposal(id, proposal)?,
        };
        Ok(Applied {
            id,
            revision: self.state.keyspace.revision,
            response: outcome.response,
            events: outcome.events,
            lease_changes: outcome.lease_changes,
        })
    }

    fn apply_proposal(&mut self, id: LogId, proposal: &Proposal) -> Result<Outcome, Fatal> {
        let Some(command) = &proposal.command else { return Ok(Outcome::of(Response::None)) };
        if let Some(refusal) = self.refused_by_alarm(command) {
            return Ok(Outcome::refused(refusal));
        }
        match command {
            Command::Put(request) => self.apply_put(request),
            Command::DeleteRange(request) => self.apply_delete_range(request),
            Command::Txn(request) => self.apply_txn(request),
            Command::Compaction(request) => Ok(self.apply_compaction(*request)),
            Command::LeaseGrant(request) => Ok(self.apply_lease_grant(*request)),
            Command::LeaseRevoke(request) => Ok(self.apply_lease_revoke(LeaseId(request.id))),
            Command::LeaseCheckpoint(request) => Ok(self.apply_lease_checkpoint(request)),
            Command::LeaseExpire(request) => Ok(self.apply_lease_expire(id, request)),
            Command::Alarm(request) => Ok(self.apply_alarm(*request)),
            Command::ClusterVersionSet(request) => Ok(self.apply_cluster_version(&request.version)),
            Command::MemberPublish(request) => {
                Ok(self.apply_member_publish(request.member.as_ref()))
            }
            Command::MemberUpdate(request) => Ok(self.apply_member_update(request)),
        }
    }

    /// CORRUPT stops everything but alarms and membership; NOSPACE stops what grows the store.
    fn refused_by_alarm(&self, command: &Command) -> Option<ApplyError> {
        let grows = match command {
            Command::Alarm(_)
            | Command::ClusterVersionSet(_)
            | Command::MemberPublish(_)
            | Command::MemberUpdate(_) => return None,
            Command::Put(_) | Command::LeaseGrant(_) => true,
            Command::Txn(request) => txn::has_put(request),
            Command::DeleteRange(_)
            | Command::Compaction(_)
            | Command::LeaseRevoke(_)
            | Command::LeaseCheckpoint(_)
            | Command::LeaseExpire(_) => false,
        };
        let alarms = &self.state.alarms;
        if alarms.is_active(AlarmKind::Corrupt) {
            return Some(ApplyError::Corrupt);
        }
        (grows && alarms.is_active(AlarmKind::NoSpace)).then_some(ApplyError::NoSpace)
    }

    fn writer(&mut self) -> Writer<'_, E> {
        Writer::new(&self.shared.engine, &mut self.state.keyspace, &mut self.batch)
    }

    fn apply_put(&mut self, request: &PutRequest) -> Result<Outcome, Fatal> {
        let keyspace = &self.state.keyspace;
        let reader = keyspace.reader(self.shared.engine.as_ref(), &self.batch.versions);
        if let Err(refusal) = txn::check_put(&reader, &keyspace.leases, request) {
            return Ok(Outcome::refused(refusal));
        }
        let mut writer = self.writer();
        let response = writer.put(request)?;
        Ok(Outcome::with_events(Response::Put(response), writer.finish()))
    }

    fn apply_delete_range(&mut self, request: &DeleteRangeRequest) -> Result<Outcome, Fatal> {
        let mut writer = self.writer();
        let response = writer.delete_range(request)?;
        Ok(Outcome::with_events(Response::DeleteRange(response), writer.finish()))
    }

    fn apply_txn(&mut self, request: &TxnRequest) -> Result<Outcome, Fatal> {
        let keyspace = &self.state.keyspace;
        let reader = keyspace.reader(self.shared.engine.as_ref(), &self.batch.versions);
        let mut path = Path::choose(&reader, request)?;
        if let Err(refusal) = path.check(&reader, &keyspace.leases, request) {
            return Ok(Outcome::refused(refusal));
        }
        let mut writer = self.writer();
        let mut response = writer.txn(request, &mut path)?;
        let events = writer.finish();
        response.header = Some(header(self.state.keyspace.revision));
        Ok(Outcome::with_events(Response::Txn(response), events))
    }

    fn apply_compaction(&mut self, request: CompactionRequest) -> Outcome {
        let keyspace = &mut self.state.keyspace;
        let target = Revision(request.revision);
        let previous = keyspace.compacted.unwrap_or(Revision::NEVER_COMPACTED);
        if target <= previous {
            return Outcome::refused(ApplyError::Compacted { compact_revision: previous });
        }
        if target > keyspace.revision {
            return Outcome::refused(ApplyError::FutureRevision { current: keyspace.revision });
        }
        keyspace.compacted = Some(target);
        self.batch.put_state(StateKey::Boundary, &Boundary { revision: target.0 });
        let scheduled = ScheduledCompaction { previous: previous.0 };
        self.batch.put_state(StateKey::Scheduled(target), &scheduled);
        Outcome::of(Response::Compaction)
    }

    fn apply_lease_grant(&mut self, request: LeaseGrantRequest) -> Outcome {
        let id = LeaseId(request.id);
        if !id.is_some() {
            return Outcome::refused(ApplyError::LeaseNotFound(id));
        }
        if self.state.keyspace.leases.get(id).is_some() {
            return Outcome::refused(ApplyError::LeaseExists(id));
        }
        self.state.keyspace.leases.grant(id, request.ttl, 0);
        let record = LeaseRecord { ttl: request.ttl, remaining_ttl: 0 };
        self.batch.put_state(StateKey::Lease(id), &record);
        Outcome::of(Response::LeaseGrant { id, ttl: request.ttl })
            .with_lease(LeaseChange::Granted { id, ttl: request.ttl })
    }

    fn apply_lease_revoke(&mut self, id: LeaseId) -> Outcome {
        if self.state.keyspace.leases.get(id).is_none() {
            return Outcome::refused(ApplyError::LeaseNotFound(id));
        }
        let events = self.revoke(id);
        Outcome::with_events(Response::LeaseRevoke, events).with_lease(LeaseChange::Revoked { id })
    }

    /// Removes a lease and, in one revision and in ascending order, its keys.
    fn revoke(&mut self, id: LeaseId) -> Option<EventBatch> {
        let keys = self.state.keyspace.leases.get(id).map(|lease| lease.keys.clone());
        self.state.keyspace.leases.revoke(id);
        self.batch.delete_state(StateKey::Lease(id));
        let mut writer = self.writer();
        for key in keys.into_iter().flatten() {
            writer.delete_leased(&key);
        }
        writer.finish()
    }

    fn apply_lease_expire(&mut self, id: LogId, request: &LeaseExpire) -> Outcome {
        if request.term != id.term.0 && !Planted::RevokeWithoutTermFence.is_on() {
            return Outcome::refused(ApplyError::StaleTerm);
        }
        let mut outcome = Outcome::of(Response::None);
        for lease in request.ids.iter().copied().map(LeaseId) {
            if self.state.keyspace.leases.get(lease).is_none() {
                continue;
            }
            outcome.events.extend(self.revoke(lease).map(Arc::new));
            outcome.lease_changes.push(LeaseChange::Revoked { id: lease });
        }
        outcome.response = Ok(Response::LeaseExpire { expired: outcome.lease_changes.len() });
        outcome
    }

    fn apply_lease_checkpoint(&mut self, request: &LeaseCheckpointRequest) -> Outcome {
        let mut outcome = Outcome::of(Response::LeaseCheckpoint);
        for checkpoint in &request.checkpoints {
            let (id, remaining_ttl) = (LeaseId(checkpoint.id), checkpoint.remaining_ttl);
            let Some(lease) = self.state.keyspace.leases.checkpoint(id, remaining_ttl) else {
                continue;
            };
            let record = LeaseRecord { ttl: lease.ttl, remaining_ttl };
            self.batch.put_state(StateKey::Lease(id), &record);
            outcome.lease_changes.push(LeaseChange::Checkpointed { id, remaining_ttl });
        }
        outcome
    }

    fn apply_alarm(&mut self, request: AlarmRequest) -> Outcome {
        let member = NodeId(request.member_id);
        let kind = AlarmKind::from_proto(request.alarm);
        let named = AlarmMember { member_id: request.member_id, alarm: request.alarm };
        let alarms = match (AlarmAction::try_from(request.action), kind) {
            (Ok(AlarmAction::Get), _) => self.list_alarms(request.alarm),
            (Ok(AlarmAction::Activate), Some(kind)) => {
                self.state.alarms.activate(member, kind);
                self.batch.put_state(StateKey::Alarm(member, kind), &Nothing {});
                vec![named]
            }
            (Ok(AlarmAction::Deactivate), Some(kind)) => {
                if self.state.alarms.deactivate(member, kind) {
                    self.batch.delete_state(StateKey::Alarm(member, kind));
                    vec![named]
                } else {
                    Vec::new()
                }
            }
            (Ok(AlarmAction::Activate | AlarmAction::Deactivate) | Err(_), _) => Vec::new(),
        };
        let header = Some(header(self.state.keyspace.revision));
        Outcome::of(Response::Alarm(AlarmResponse { header, alarms }))
    }

    /// Those of a kind by its wire number: all for "none", none for a number without a meaning.
    fn list_alarms(&self, number: i32) -> Vec<AlarmMember> {
        let active = self.state.alarms.iter();
        active
            .map(|(member, kind)| AlarmMember {
                member_id: member.0,
                alarm: kind.to_proto().into(),
            })
            .filter(|alarm| number == i32::from(AlarmType::None) || number == alarm.alarm)
            .collect()
    }

    fn apply_cluster_version(&mut self, version: &str) -> Outcome {
        self.state.cluster_version = Some(Arc::from(version));
        let record = ClusterVersion { version: version.to_owned() };
        self.batch.put_state(StateKey::ClusterVersion, &record);
        Outcome::of(Response::None)
    }

    fn apply_member_publish(&mut self, said: Option<&Member>) -> Outcome {
        if let Some(member) = said.and_then(|said| self.state.members.publish(said.clone())) {
            self.batch.put_state(StateKey::Member(NodeId(member.id)), member);
        }
        Outcome::of(Response::None)
    }

    fn apply_member_update(&mut self, request: &MemberUpdateRequest) -> Outcome {
        let id = NodeId(request.id);
        if let Some(member) = self.state.members.update(id, &request.peer_ur_ls) {
            self.batch.put_state(StateKey::Member(id), member);
        }
        Outcome::of(Response::None)
    }

    fn apply_membership(
        &mut self,
        id: LogId,
        encoded: Bytes,
        member: Option<Member>,
        removed: Option<NodeId>,
    ) -> Outcome {
        let record = Membership { term: id.term.0, index: id.index.0, encoded: encoded.clone() };
        self.batch.put_state(StateKey::Membership, &record);
        self.state.membership = Some((id, encoded));
        if let Some(member) = member
            && self.state.members.set(member.clone())
        {
            self.batch.put_state(StateKey::Member(NodeId(member.id)), &member);
        }
        if let Some(removed) = removed {
            self.state.members.remove(removed);
            self.batch.delete_state(StateKey::Member(removed));
            self.batch.put_state(StateKey::Removed(removed), &Nothing {});
        }
        Outcome::of(Response::None)
    }
}

fn header(revision: Revision) -> ResponseHeader {
    ResponseHeader { revision: revision.0, ..ResponseHeader::default() }
}
