//! Alarms: what is raised and what that stops.

use vetch_proto::etcdserverpb::alarm_request::AlarmAction;
use vetch_proto::etcdserverpb::request_op::Request;
use vetch_proto::etcdserverpb::{AlarmMember, AlarmRequest, AlarmResponse, AlarmType, TxnRequest};
use vetch_proto::vetchpb::proposal::Command;

use super::{Model, write};
use crate::alarm::AlarmKind;
use crate::error::ApplyError;
use crate::types::NodeId;

impl Model {
    /// §9: CORRUPT stops all but alarms and what concerns members; NOSPACE stops puts, grants, and
    /// transactions with a put anywhere, whether or not it would run.
    pub(super) fn check_alarms(&self, command: &Command) -> Result<(), ApplyError> {
        let raised = |kind| self.alarms.iter().any(|(_, raised)| *raised == kind);
        let exempt = matches!(
            command,
            Command::Alarm(_)
                | Command::ClusterVersionSet(_)
                | Command::MemberPublish(_)
                | Command::MemberUpdate(_)
        );
        if !exempt && raised(AlarmKind::Corrupt) {
            return Err(ApplyError::Corrupt);
        }
        let grows = matches!(command, Command::Put(_) | Command::LeaseGrant(_))
            || matches!(command, Command::Txn(request) if puts(request));
        if grows && raised(AlarmKind::NoSpace) {
            return Err(ApplyError::NoSpace);
        }
        Ok(())
    }

    /// §9: ACTIVATE answers the alarm, also when it is raised already; DEACTIVATE only if it was; GET
    /// lists those of a kind, of every kind if it names none. Numbers without a meaning do nothing.
    pub(super) fn alarm(&mut self, request: AlarmRequest) -> AlarmResponse {
        let member = NodeId(request.member_id);
        let kind = match AlarmType::try_from(request.alarm) {
            Ok(AlarmType::Nospace) => Some(AlarmKind::NoSpace),
            Ok(AlarmType::Corrupt) => Some(AlarmKind::Corrupt),
            Ok(AlarmType::None) | Err(_) => None,
        };
        let alarms = match (AlarmAction::try_from(request.action), kind) {
            (Ok(AlarmAction::Get), _) => self
                .alarms
                .iter()
                .map(|(member, kind)| AlarmMember { member_id: member.0, alarm: number(*kind) })
                .filter(|alarm| request.alarm == 0 || request.alarm == alarm.alarm)
                .collect(),
            (Ok(AlarmAction::Activate), Some(kind)) => {
                self.alarms.insert((member, kind));
                vec![AlarmMember { member_id: member.0, alarm: number(kind) }]
            }
            (Ok(AlarmAction::Deactivate), Some(kind)) if self.alarms.remove(&(member, kind)) => {
                vec![AlarmMember { member_id: member.0, alarm: number(kind) }]
            }
            (Ok(AlarmAction::Activate | AlarmAction::Deactivate) | Err(_), _) => Vec::new(),
        };
        AlarmResponse { header: Some(write::header(self.revision)), alarms }
    }

    /// Everything raised, by member.
    pub fn alarms(&self) -> Vec<(NodeId, AlarmKind)> {
        self.alarms.iter().copied().collect()
    }
}

fn number(kind: AlarmKind) -> i32 {
    match kind {
        AlarmKind::NoSpace => 1,
        AlarmKind::Corrupt => 2,
    }
}

fn puts(request: &TxnRequest) -> bool {
    let mut operations = request.success.iter().chain(&request.failure);
    operations.any(|operation| match &operation.request {
        Some(Request::RequestPut(_)) => true,
        Some(Request::RequestTxn(nested)) => puts(nested),
        Some(Request::RequestRange(_) | Request::RequestDeleteRange(_)) | None => false,
    })
}
