//! Logs of entries.

use std::ops::Range;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use vetch_proto::etcdserverpb::alarm_request::AlarmAction;
use vetch_proto::etcdserverpb::{
    AlarmRequest, CompactionRequest, LeaseCheckpoint, LeaseCheckpointRequest, LeaseGrantRequest,
    LeaseRevokeRequest, Member, MemberUpdateRequest,
};
use vetch_proto::vetchpb::proposal::Command;
use vetch_proto::vetchpb::{ClusterVersionSet, LeaseExpire, MemberPublish, Proposal};

use super::request::{any_txns, deletes, lease_ids, puts, settle, settle_txn};
use crate::command::Entry;
use crate::testing::Model;
use crate::types::{LogId, LogIndex, NodeId, Term};

/// An entry that owns what it holds.
#[derive(Clone, Debug)]
pub enum LogEntry {
    /// See [`Entry::Blank`].
    Blank,
    /// See [`Entry::Membership`].
    Membership {
        /// The consensus layer's encoding.
        encoded: Bytes,
        /// The member that comes or changes.
        member: Option<Member>,
        /// The member that leaves.
        removed: Option<NodeId>,
    },
    /// See [`Entry::Proposal`].
    Proposal(Proposal),
}

impl LogEntry {
    /// As the state machine takes it.
    pub fn as_entry(&self) -> Entry<'_> {
        match self {
            Self::Blank => Entry::Blank,
            Self::Membership { encoded, member, removed } => Entry::Membership {
                encoded: encoded.clone(),
                member: member.clone(),
                removed: *removed,
            },
            Self::Proposal(proposal) => Entry::Proposal(proposal),
        }
    }
}

/// An entry and its place.
#[derive(Clone, Debug)]
pub struct Logged {
    /// Term and index; indexes follow each other from 1.
    pub id: LogId,
    /// What is there.
    pub entry: LogEntry,
}

fn proposal(command: Command) -> LogEntry {
    LogEntry::Proposal(Proposal { command: Some(command), ..Proposal::default() })
}

fn members() -> impl Strategy<Value = Member> {
    (1_u64..4, any::<bool>(), any::<bool>()).prop_map(|(id, is_learner, has_peer_urls)| Member {
        id,
        name: format!("m{id}"),
        peer_ur_ls: if has_peer_urls { vec![format!("http://p{id}")] } else { Vec::new() },
        client_ur_ls: vec![format!("http://c{id}")],
        is_learner,
    })
}

fn lease_commands() -> impl Strategy<Value = Command> {
    let grant = (prop_oneof![20 => lease_ids(), 1 => Just(0)], 1_i64..900)
        .prop_filter_map("77 is never granted", |(id, ttl)| {
            (id != 77).then_some(Command::LeaseGrant(LeaseGrantRequest { id, ttl }))
        });
    let revoke = lease_ids().prop_map(|id| Command::LeaseRevoke(LeaseRevokeRequest { id }));
    // Term 0 stands for the entry's own.
    let expire = (vec(lease_ids(), 0..4), prop_oneof![6 => Just(0_u64), 1 => Just(99)])
        .prop_map(|(ids, term)| Command::LeaseExpire(LeaseExpire { ids, term }));
    let checkpoint = vec((lease_ids(), 0_i64..500), 0..3).prop_map(|checkpoints| {
        let checkpoints = checkpoints
            .into_iter()
            .map(|(id, remaining_ttl)| LeaseCheckpoint { id, remaining_ttl });
        Command::LeaseCheckpoint(LeaseCheckpointRequest { checkpoints: checkpoints.collect() })
    });
    prop_oneof![5 => grant, 2 => revoke, 2 => expire, 1 => checkpoint]
}

fn alarms() -> impl Strategy<Value = Command> {
    let number = |known: i32| prop_oneof![12 => 0..known, 1 => Just(77)];
    (number(3), 1_u64..3, number(3)).prop_map(|(action, member_id, alarm)| {
        Command::Alarm(AlarmRequest { action, member_id, alarm })
    })
}

fn drafts() -> impl Strategy<Value = LogEntry> {
    let compaction = (-1_i64..14, any::<bool>()).prop_map(|(revision, physical)| {
        Command::Compaction(CompactionRequest { revision, physical })
    });
    let version = select(vec!["3.6.0", "3.7.0"]).prop_map(|version| {
        Command::ClusterVersionSet(ClusterVersionSet { version: version.to_owned() })
    });
    let publish = proptest::option::weighted(0.9, members())
        .prop_map(|member| Command::MemberPublish(MemberPublish { member }));
    let update = members().prop_map(|Member { id, peer_ur_ls, .. }| {
        Command::MemberUpdate(MemberUpdateRequest { id, peer_ur_ls })
    });
    let command = prop_oneof![
        36 => puts().prop_map(Command::Put),
        16 => deletes().prop_map(Command::DeleteRange),
        32 => any_txns().prop_map(Command::Txn),
        10 => compaction,
        16 => lease_commands(),
        2 => alarms(),
        1 => version,
        1 => publish,
        1 => update,
    ];
    let membership = (proptest::option::of(members()), proptest::option::of(1_u64..4));
    let membership = membership.prop_map(|(member, removed)| LogEntry::Membership {
        encoded: Bytes::from_static(b"voters"),
        member,
        removed: removed.map(NodeId),
    });
    prop_oneof![80 => command.prop_map(proposal), 1 => membership, 1 => Just(LogEntry::Blank)]
}

/// Logs of random entries in random terms. Alarms do not last, so that most entries do something.
pub fn logs(length: Range<usize>) -> impl Strategy<Value = Vec<Logged>> {
    vec((drafts(), proptest::bool::weighted(0.05)), length).prop_map(settled)
}

fn settled(drafts: Vec<(LogEntry, bool)>) -> Vec<Logged> {
    /// Entries an alarm stays.
    const PATIENCE: usize = 4;
    let mut model = Model::new();
    let mut id = LogId { term: Term(1), index: LogIndex(0) };
    let mut alarmed = 0;
    let mut log = Vec::new();
    for (mut entry, elects) in drafts {
        id.index = LogIndex(id.index.0 + 1);
        id.term = Term(id.term.0 + u64::from(elects));
        alarmed = if model.alarms().is_empty() { 0 } else { alarmed + 1 };
        match model.alarms().first() {
            Some((member, kind)) if alarmed > PATIENCE => {
                entry = proposal(Command::Alarm(AlarmRequest {
                    action: AlarmAction::Deactivate.into(),
                    member_id: member.0,
                    alarm: kind.to_proto().into(),
                }));
            }
            Some(_) | None => settle_entry(&mut entry, id, &model),
        }
        model.apply(id, entry.as_entry());
        log.push(Logged { id, entry });
    }
    log
}

fn settle_entry(entry: &mut LogEntry, id: LogId, model: &Model) {
    let LogEntry::Proposal(Proposal { command: Some(command), .. }) = entry else { return };
    if let Command::Compaction(request) = command {
        settle(&mut request.revision, model.revision());
    } else if let Command::Txn(request) = command {
        settle_txn(request, model.revision());
    } else if let Command::LeaseExpire(request) = command
        && request.term == 0
    {
        request.term = id.term.0;
    }
}
