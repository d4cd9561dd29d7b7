//! Active alarms: a replicated set of (member, kind).

use imbl::OrdSet;
use vetch_proto::etcdserverpb::alarm_request::AlarmAction;
use vetch_proto::etcdserverpb::{AlarmRequest, AlarmType};

use crate::types::NodeId;

/// Whom a CORRUPT alarm names when nobody can tell who is wrong; as in etcd.
pub const NOBODY: NodeId = NodeId(0);

/// What an alarm says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlarmKind {
    /// A member's store is at its quota: nothing that grows it is applied.
    NoSpace,
    /// A member's data differs from its peers': nothing is applied.
    Corrupt,
}

impl AlarmKind {
    /// The wire's name.
    pub fn to_proto(self) -> AlarmType {
        match self {
            Self::NoSpace => AlarmType::Nospace,
            Self::Corrupt => AlarmType::Corrupt,
        }
    }

    /// From the wire's number; `None` for "no alarm" and for numbers without a meaning.
    pub fn from_proto(number: i32) -> Option<Self> {
        match AlarmType::try_from(number) {
            Ok(AlarmType::Nospace) => Some(Self::NoSpace),
            Ok(AlarmType::Corrupt) => Some(Self::Corrupt),
            Ok(AlarmType::None) | Err(_) => None,
        }
    }

    /// The request that raises this alarm for `member`.
    pub fn activation(self, member: NodeId) -> AlarmRequest {
        AlarmRequest {
            action: AlarmAction::Activate.into(),
            member_id: member.0,
            alarm: self.to_proto().into(),
        }
    }
}

/// The active alarms. `clone` is O(1).
#[derive(Clone, Debug, Default)]
pub struct Alarms {
    active: OrdSet<(NodeId, AlarmKind)>,
}

impl Alarms {
    /// Every active alarm, by member.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, AlarmKind)> + '_ {
        self.active.iter().copied()
    }

    /// Whether this kind is raised for `member`.
    pub fn names(&self, member: NodeId, kind: AlarmKind) -> bool {
        self.active.contains(&(member, kind))
    }

    /// Whether any member raised this kind.
    pub fn is_active(&self, kind: AlarmKind) -> bool {
        self.active.iter().any(|(_, active)| *active == kind)
    }

    /// Raises an alarm, perhaps again.
    pub(crate) fn activate(&mut self, member: NodeId, kind: AlarmKind) {
        self.active.insert((member, kind));
    }

    /// Ends an alarm; whether it was active.
    pub(crate) fn deactivate(&mut self, member: NodeId, kind: AlarmKind) -> bool {
        self.active.remove(&(member, kind)).is_some()
    }
}
