//! Commands by the names etcd's metrics give them.

use vetch_proto::etcdserverpb::TxnResponse;
use vetch_proto::etcdserverpb::response_op::Response as OpResponse;
use vetch_proto::vetchpb::proposal::Command;

/// What a command is called in `etcd_server_apply_duration_seconds` and its like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `Put`.
    Put,
    /// `DeleteRange`.
    DeleteRange,
    /// `Txn`.
    Txn,
    /// `Compaction`.
    Compaction,
    /// `LeaseGrant`.
    LeaseGrant,
    /// `LeaseRevoke`; an expiry too, which is a revoke of several in one entry.
    LeaseRevoke,
    /// `LeaseCheckpoint`.
    LeaseCheckpoint,
    /// `Alarm`.
    Alarm,
    /// `ClusterVersionSet`.
    ClusterVersionSet,
    /// `ClusterMemberAttrSet`: what a member says of itself, and new peer URLs.
    MemberPublish,
}

impl Operation {
    pub(super) const ALL: [(Self, &'static str); 10] = [
        (Self::Put, "Put"),
        (Self::DeleteRange, "DeleteRange"),
        (Self::Txn, "Txn"),
        (Self::Compaction, "Compaction"),
        (Self::LeaseGrant, "LeaseGrant"),
        (Self::LeaseRevoke, "LeaseRevoke"),
        (Self::LeaseCheckpoint, "LeaseCheckpoint"),
        (Self::Alarm, "Alarm"),
        (Self::ClusterVersionSet, "ClusterVersionSet"),
        (Self::MemberPublish, "ClusterMemberAttrSet"),
    ];

    /// What `command` is.
    pub fn of(command: &Command) -> Self {
        match command {
            Command::Put(_) => Self::Put,
            Command::DeleteRange(_) => Self::DeleteRange,
            Command::Txn(_) => Self::Txn,
            Command::Compaction(_) => Self::Compaction,
            Command::LeaseGrant(_) => Self::LeaseGrant,
            Command::LeaseRevoke(_) | Command::LeaseExpire(_) => Self::LeaseRevoke,
            Command::LeaseCheckpoint(_) => Self::LeaseCheckpoint,
            Command::Alarm(_) => Self::Alarm,
            Command::ClusterVersionSet(_) => Self::ClusterVersionSet,
            Command::MemberPublish(_) | Command::MemberUpdate(_) => Self::MemberPublish,
        }
    }
}

/// How many operations on keys something was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyOperations {
    /// Ranges.
    pub ranges: u64,
    /// Puts.
    pub puts: u64,
    /// Deletions, however many keys each took.
    pub deletes: u64,
}

impl KeyOperations {
    /// All of them.
    pub fn total(self) -> u64 {
        self.ranges + self.puts + self.deletes
    }

    /// What a transaction did, nested ones included.
    pub fn of_txn(txn: &TxnResponse) -> Self {
        let mut all = Self::default();
        all.add_txn(txn);
        all
    }

    fn add_txn(&mut self, txn: &TxnResponse) {
        for op in &txn.responses {
            match &op.response {
                Some(OpResponse::ResponseRange(_)) => self.ranges += 1,
                Some(OpResponse::ResponsePut(_)) => self.puts += 1,
                Some(OpResponse::ResponseDeleteRange(_)) => self.deletes += 1,
                Some(OpResponse::ResponseTxn(nested)) => self.add_txn(nested),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_stand_at_their_number() {
        for (at, (operation, _)) in Operation::ALL.iter().enumerate() {
            assert_eq!(*operation as usize, at);
        }
    }
}
