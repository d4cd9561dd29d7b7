//! A cluster of one member made of what is left of another: `--force-new-cluster`.
//!
//! The directory keeps its data and its member id. What the log holds counts as committed, the others
//! are removed for good, and the cluster gets another id: members of the old one that still live
//! are strangers from then on, whatever they were told meanwhile. etcd keeps the cluster's id.
//!
//! **Crash-safe:** the manifest says first that it is being done; until it says otherwise each start
//! completes it. Doing it twice is doing it once.

use std::collections::BTreeSet;

use prost::Message;
use vetch_proto::vetchpb::MemberRecord;
use vetch_storage::{Engine, Fatal, LogIndex, StateMachine};

use super::start::history::append_durably;
use crate::apply;
use crate::disk::Disk;
use crate::log::LogStore;
use crate::manifest::{self, Manifest, identity};
use crate::types::membership::decode_membership;
use crate::types::{CommittedLeaderId, Entry, Membership, Payload, RaftLogId, raft_index};

/// Leaves `manifest`'s member alone in a new cluster, unless it is alone already.
pub(super) async fn force_new_cluster<E: Engine>(
    home: &dyn Disk,
    manifest: &mut Manifest,
    log: &LogStore,
    machine: &StateMachine<E>,
    random: u64,
) -> Result<(), Fatal> {
    let me = manifest.identity.member.0;
    let group = Found::read(log, machine)?;
    let others: BTreeSet<u64> = group.members.iter().copied().filter(|id| *id != me).collect();
    if !manifest.forcing {
        if others.is_empty() && group.is_alone(me) {
            return Ok(());
        }
        let cluster = &mut manifest.identity.cluster;
        *cluster = identity::forked_cluster_id(*cluster, random);
        manifest.forcing = true;
        manifest::store(home, manifest).await?;
    }
    tracing::warn!(
        removed = ?others.iter().map(|id| format!("{id:x}")).collect::<Vec<_>>(),
        cluster = %format_args!("{:x}", manifest.identity.cluster.0),
        "--force-new-cluster: this member goes on alone, in a new cluster"
    );
    append_durably(log, entries(me, &others, log)?).await?;
    manifest.forcing = false;
    manifest::store(home, manifest).await
}

/// One entry per member that is left behind, and one that makes this one a voter if it was none.
fn entries(me: u64, others: &BTreeSet<u64>, log: &LogStore) -> Result<Vec<Entry>, Fatal> {
    let (_, end) = log.bounds();
    let last = match end.checked_sub(1) {
        Some(last) => log.read_one(last)?.map(|entry| entry.log_id).or_else(|| log.purged()),
        None => None,
    };
    // Terms never go back, and nothing of a term is in the log before its vote.
    let voted = log.vote().map_or(0, |vote| vote.leader_id.term);
    let term = voted.max(last.map_or(0, |id| id.leader_id.term));
    let removals = others.iter().map(|id| MemberRecord { removed: *id, ..MemberRecord::default() });
    let promotion = MemberRecord { promoted: me, ..MemberRecord::default() };
    let records = removals.chain([promotion]);
    let entry = |(index, record): (u64, MemberRecord)| Entry {
        log_id: RaftLogId::new(CommittedLeaderId::new(term), index),
        payload: Payload::Membership {
            membership: Membership::new_with_defaults(vec![BTreeSet::from([me])], []),
            record: Some(record.encode_to_vec().into()),
        },
    };
    Ok((end..).zip(records).map(entry).collect())
}

/// What the directory says of the group.
struct Found {
    membership: Option<Membership>,
    members: BTreeSet<u64>,
}

impl Found {
    /// What was applied, and what the log has in store after it.
    fn read<E: Engine>(log: &LogStore, machine: &StateMachine<E>) -> Result<Self, Fatal> {
        let applied = machine.applied();
        let membership = machine.membership().map(|(id, encoded)| {
            decode_membership(encoded).map_err(|error| {
                apply::undecodable(vetch_storage::LogId { index: id.index, ..applied }, &error)
            })
        });
        let members = machine.members().iter().map(|member| member.id).collect();
        let mut found = Self { membership: membership.transpose()?, members };
        let next = raft_index(applied.index).map_or(0, |index| index + 1);
        let (first, end) = log.bounds();
        for index in next.max(first)..end {
            let Some(Entry { payload, .. }) = log.read_one(index)? else { break };
            let Payload::Membership { membership, record } = payload else { continue };
            found.membership = Some(membership);
            let Some(record) = record else { continue };
            let at = vetch_storage::LogId { index: LogIndex(index + 1), ..applied };
            let record = MemberRecord::decode(record);
            let record = record.map_err(|error| apply::undecodable(at, &error))?;
            if let Some(member) = record.member
                && !machine.members().is_removed(vetch_storage::NodeId(member.id))
            {
                found.members.insert(member.id);
            }
            found.members.remove(&record.removed);
        }
        Ok(found)
    }

    fn is_alone(&self, me: u64) -> bool {
        let Some(membership) = &self.membership else { return false };
        membership.voter_ids().eq([me]) && membership.learner_ids().next().is_none()
    }
}
