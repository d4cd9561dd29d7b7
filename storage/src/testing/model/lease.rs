//! Leases: grants, revocations, attached keys. Deadlines are no part of the store.

use bytes::Bytes;
use vetch_proto::etcdserverpb::{LeaseCheckpointRequest, LeaseGrantRequest};
use vetch_proto::vetchpb::LeaseExpire;

use super::{Effects, Model};
use crate::command::{LeaseChange, Response};
use crate::error::ApplyError;
use crate::lease::Lease;
use crate::types::{LeaseId, LogId};

/// What is known of a lease, in seconds. Its keys are those whose records name it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ttl {
    granted: i64,
    /// 0 when nothing was recorded since the last renewal.
    remaining: i64,
}

impl Model {
    /// §7: any id but 0, negative ones too, is granted once.
    pub(super) fn grant(
        &mut self,
        request: LeaseGrantRequest,
        effects: &mut Effects,
    ) -> Result<Response, ApplyError> {
        let (id, ttl) = (LeaseId(request.id), request.ttl);
        if id.0 == 0 {
            return Err(ApplyError::LeaseNotFound(id));
        }
        if self.leases.contains_key(&id) {
            return Err(ApplyError::LeaseExists(id));
        }
        self.leases.insert(id, Ttl { granted: ttl, remaining: 0 });
        effects.lease_changes.push(LeaseChange::Granted { id, ttl });
        Ok(Response::LeaseGrant { id, ttl })
    }

    /// §7: a lease that is not there cannot be revoked.
    pub(super) fn revoke(
        &mut self,
        id: LeaseId,
        effects: &mut Effects,
    ) -> Result<Response, ApplyError> {
        if !self.leases.contains_key(&id) {
            return Err(ApplyError::LeaseNotFound(id));
        }
        self.end(id, effects);
        Ok(Response::LeaseRevoke)
    }

    /// §7: the lease and all its keys go in one revision, the keys in byte order; a lease without
    /// keys takes no revision.
    fn end(&mut self, id: LeaseId, effects: &mut Effects) {
        let mut changes = Vec::new();
        for key in self.keys_of(id) {
            self.delete(&key, &mut changes);
        }
        self.leases.remove(&id);
        effects.events.extend(self.end_of_transaction(changes));
        effects.lease_changes.push(LeaseChange::Revoked { id });
    }

    /// §7: what a leader found due goes, one lease after the other, unless it leads no more. Leases
    /// that are gone already are passed over.
    pub(super) fn expire(
        &mut self,
        id: LogId,
        request: &LeaseExpire,
        effects: &mut Effects,
    ) -> Result<Response, ApplyError> {
        if request.term != id.term.0 {
            return Err(ApplyError::StaleTerm);
        }
        let mut expired = 0;
        for lease in request.ids.iter().map(|id| LeaseId(*id)) {
            if self.leases.contains_key(&lease) {
                self.end(lease, effects);
                expired += 1;
            }
        }
        Ok(Response::LeaseExpire { expired })
    }

    /// §7: the remaining time is recorded, 0 clears the record; unknown leases are passed over.
    pub(super) fn checkpoint(
        &mut self,
        request: &LeaseCheckpointRequest,
        effects: &mut Effects,
    ) -> Response {
        for checkpoint in &request.checkpoints {
            let (id, remaining_ttl) = (LeaseId(checkpoint.id), checkpoint.remaining_ttl);
            if let Some(ttl) = self.leases.get_mut(&id) {
                ttl.remaining = remaining_ttl;
                effects.lease_changes.push(LeaseChange::Checkpointed { id, remaining_ttl });
            }
        }
        Response::LeaseCheckpoint
    }

    /// §7: a key hangs on the lease its record names. In byte order.
    fn keys_of(&self, id: LeaseId) -> Vec<Bytes> {
        let live = self.state_now(b"", b"\0").into_iter();
        live.filter(|kv| kv.lease == id.0).map(|kv| kv.key.clone()).collect()
    }

    /// All leases, by id.
    pub fn leases(&self) -> Vec<Lease> {
        let leases = self.leases.iter();
        leases
            .map(|(&id, ttl)| Lease {
                id,
                ttl: ttl.granted,
                remaining_ttl: ttl.remaining,
                keys: self.keys_of(id).into_iter().collect(),
            })
            .collect()
    }
}
