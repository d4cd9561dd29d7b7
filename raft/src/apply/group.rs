//! What the state machine knows of its group.

use vetch_storage::{Engine, Fatal, LogId, NodeId, StateMachine};

use crate::types::membership::decode_membership;
use crate::types::{Membership, StoredMembership, raft_log_id};

/// Whether `node` alone decided what `machine` has applied.
pub(crate) fn is_sole_voter<E: Engine>(
    machine: &StateMachine<E>,
    node: NodeId,
) -> Result<bool, Fatal> {
    Ok(votes_alone(node.0, stored_membership(machine)?.membership()))
}

/// Whether clients see this member as a learner: a new voter that has yet to catch up is none.
pub(super) fn is_learner<E: Engine>(machine: &StateMachine<E>, node: u64) -> bool {
    machine.members().get(NodeId(node)).is_some_and(|member| member.is_learner)
}

/// Whether this member alone decides what is committed.
pub(super) fn votes_alone(node: u64, membership: &Membership) -> bool {
    membership.voter_ids().eq([node])
}

/// The newest applied membership, as the machine keeps it.
pub(crate) fn stored_membership<E: Engine>(
    machine: &StateMachine<E>,
) -> Result<StoredMembership, Fatal> {
    let Some((id, encoded)) = machine.membership() else {
        return Ok(StoredMembership::default());
    };
    let membership = decode_membership(encoded).map_err(|error| undecodable(id, &error))?;
    Ok(StoredMembership::new(raft_log_id(id), membership))
}

pub(crate) fn undecodable(id: LogId, error: &prost::DecodeError) -> Fatal {
    Fatal::Corrupt {
        location: format!("log entry {} of term {}", id.index, id.term),
        expected: "an entry this version can decode".to_owned(),
        found: error.to_string(),
    }
}
