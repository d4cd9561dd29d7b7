//! What goes into the state machine and what comes out of it.

use std::sync::Arc;

use bytes::Bytes;
use vetch_proto::etcdserverpb::{
    AlarmResponse, DeleteRangeResponse, Member, PutResponse, TxnResponse,
};
use vetch_proto::vetchpb::Proposal;

use crate::error::ApplyError;
use crate::event::EventBatch;
use crate::types::{LeaseId, LogId, NodeId, Revision};

/// A committed log entry, as the state machine sees it.
#[derive(Clone, Debug)]
pub enum Entry<'a> {
    /// A leader's first entry: nothing but the applied index moves.
    Blank,
    /// A change of the voter set.
    Membership {
        /// The consensus layer's own encoding of the membership, kept beside the data so that both
        /// are as of the same entry.
        encoded: Bytes,
        /// The member record to store, when the change adds or alters one.
        member: Option<Member>,
        /// The member that left.
        removed: Option<NodeId>,
    },
    /// A client's or the leader's command.
    Proposal(&'a Proposal),
}

/// What one entry did.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The entry.
    pub id: LogId,
    /// The store's revision after the entry.
    pub revision: Revision,
    /// The client's answer, equal on every replica. Inner headers carry only `revision`.
    pub response: Result<Response, ApplyError>,
    /// Events by ascending revision; more than one batch only for an expiry of several leases.
    pub events: Vec<Arc<EventBatch>>,
    /// What the leader's lessor has to know.
    pub lease_changes: Vec<LeaseChange>,
}

/// The answer to a command that was carried out.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// The entry has no client answer (blank, membership, publish, cluster version).
    None,
    /// Put.
    Put(PutResponse),
    /// `DeleteRange`.
    DeleteRange(DeleteRangeResponse),
    /// Txn.
    Txn(TxnResponse),
    /// Compact: the boundary holds from now on; physical deletion follows in the background.
    Compaction,
    /// `LeaseGrant`.
    LeaseGrant {
        /// The new lease.
        id: LeaseId,
        /// Seconds, as stored.
        ttl: i64,
    },
    /// `LeaseRevoke`.
    LeaseRevoke,
    /// Lease checkpoints taken; unknown leases among them were skipped.
    LeaseCheckpoint,
    /// How many of the leases named by an expiry existed and are gone now.
    LeaseExpire {
        /// Leases removed.
        expired: usize,
    },
    /// Alarm.
    Alarm(AlarmResponse),
}

/// A change of the lease table, for the clock-keeping side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseChange {
    /// A lease came into being.
    Granted {
        /// The lease.
        id: LeaseId,
        /// Seconds.
        ttl: i64,
    },
    /// A lease and its keys are gone.
    Revoked {
        /// The lease.
        id: LeaseId,
    },
    /// The remaining time was recorded; 0 clears the record.
    Checkpointed {
        /// The lease.
        id: LeaseId,
        /// Seconds.
        remaining_ttl: i64,
    },
}
