//! Log and engine held against each other, and the first entries of a history.

use std::collections::BTreeMap;
use std::path::Path;

use prost::Message;
use tokio::sync::oneshot;
use vetch_proto::etcdserverpb::Member;
use vetch_proto::vetchpb::MemberRecord;
use vetch_storage::{Fatal, LogIndex, Planted, StateMachine};

use crate::apply;
use crate::disk::DiskError;
use crate::log::LogStore;
use crate::manifest::Manifest;
use crate::platform::Platform;
use crate::replica::OpenError;
use crate::types::{
    CommittedLeaderId, Entry, Membership, Payload, RaftLogId, log_index, raft_log_id,
};

/// Whether log and engine belong together. `true` when this member decided alone what it has applied.
pub(super) fn check_log<E: vetch_storage::Engine>(
    data_dir: &Path,
    log: &LogStore,
    machine: &StateMachine<E>,
    manifest: &Manifest,
) -> Result<bool, OpenError> {
    let (first, end) = log.bounds();
    let (first, last, applied) = (log_index(first), LogIndex(end), machine.applied().index);
    let data_dir = || data_dir.display().to_string();
    if applied.next() < first {
        return Err(OpenError::Gap { data_dir: data_dir(), applied, first });
    }
    // With one voter nothing is applied before it is in this very log. With more, what a quorum has
    // on disk may be applied here before this member's own write ends; a crash then cuts the log short
    // of the engine, and openraft lets it begin anew behind that.
    let alone = apply::is_sole_voter(machine, manifest.identity.member)?;
    // A state from a peer is in use before the log is purged to it; a log that had nothing still has
    // nothing then.
    let is_installed = manifest.state.installed == applied && applied > LogIndex(0);
    let is_empty = manifest.initialized && last == LogIndex(0) && !is_installed;
    if (alone && last < applied) || is_empty {
        return Err(OpenError::LogLost { data_dir: data_dir(), applied, last });
    }
    Ok(alone)
}

/// Drops entries that contradict what is applied: the crash described in [`check_log`] may have left
/// an older leader's entries where newer ones, already applied, had not replaced them yet.
pub(super) fn drop_contradicted(
    log: &LogStore,
    applied: vetch_storage::LogId,
) -> Result<(), Fatal> {
    let Some(applied) = raft_log_id(applied) else { return Ok(()) };
    let Some(entry) = log.read_one(applied.index)? else { return Ok(()) };
    if entry.log_id == applied && !Planted::CommittedEntryTruncated.is_on() {
        return Ok(());
    }
    let before = match applied.index.checked_sub(1) {
        Some(before) => log.read_one(before)?.map(|entry| entry.log_id).or_else(|| log.purged()),
        None => None,
    };
    Ok(log.truncate(before)?)
}

/// Where a crash cut the log short of the engine, as [`check_log`] says, the log begins anew behind it.
/// What the engine has is made durable first: from then on nothing else has it here.
pub(super) async fn begin_log_behind_engine<P: Platform>(
    platform: &P,
    log: &LogStore,
    machine: &StateMachine<P::Engine>,
) -> Result<(), Fatal> {
    let Some(applied) = raft_log_id(machine.applied()) else { return Ok(()) };
    if log.bounds().1 > applied.index {
        return Ok(());
    }
    let mut checkpointer = machine.checkpointer();
    platform.blocking(move || checkpointer.checkpoint()).await?;
    Ok(log.purge_upto(applied)?)
}

/// Writes the first entries, unless a crash came between them and the manifest's note of it.
pub(super) async fn begin_log(log: &LogStore, first: Vec<Entry>) -> Result<(), Fatal> {
    if log.bounds().1 > 0 {
        return Ok(());
    }
    append_durably(log, first).await
}

/// Appends to a log that nothing else uses yet.
pub(in crate::replica) async fn append_durably(
    log: &LogStore,
    entries: Vec<Entry>,
) -> Result<(), Fatal> {
    let (written, durable) = oneshot::channel();
    log.append_entries(entries, move |result| drop(written.send(result)))?;
    durable.await.unwrap_or(Err(DiskError::Closed.into()))?;
    Ok(())
}

/// The entries every history begins with: who votes, with one member's record each. Of term 0, like
/// openraft's own initialization, whose payload could not carry the records.
///
/// Every voter writes them by itself, so they hold only what all were told alike: client URLs are
/// published later, and so are names unless each member's is known. A lone voter has nobody to
/// differ from.
pub(super) fn first_entries(own: &Member, peers: &[Member]) -> Result<Vec<Entry>, OpenError> {
    let voters: BTreeMap<u64, &Member> =
        peers.iter().chain([own]).map(|member| (member.id, member)).collect();
    if voters.len() != peers.len() + 1 || voters.contains_key(&0) {
        return Err(OpenError::Settings("initial members need ids of their own".to_owned()));
    }
    let named = voters.values().all(|member| !member.name.is_empty());
    let membership = Membership::new_with_defaults(vec![voters.keys().copied().collect()], []);
    let entry = |(index, member): (u64, &Member)| {
        let mut member = member.clone();
        if !peers.is_empty() {
            member.client_ur_ls.clear();
            if !named {
                member.name.clear();
            }
        }
        let record = MemberRecord { member: Some(member), ..MemberRecord::default() };
        let record = record.encode_to_vec();
        let membership = membership.clone();
        Entry {
            log_id: RaftLogId::new(CommittedLeaderId::new(0), index),
            payload: Payload::Membership { membership, record: Some(record.into()) },
        }
    };
    Ok((0..).zip(voters.into_values()).map(entry).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::executor::block_on;
    use vetch_storage::{LogId, Term};

    use super::*;
    use crate::disk::sim::SimDisk;
    use crate::log::LogOptions;

    fn at(term: u64, index: u64) -> RaftLogId {
        RaftLogId::new(CommittedLeaderId::new(term), index)
    }

    fn applied(term: u64, index: u64) -> LogId {
        LogId { term: Term(term), index: LogIndex(index + 1) }
    }

    /// Entries 0 to 3 of term 1.
    fn log() -> LogStore {
        let log = block_on(LogStore::open(Arc::new(SimDisk::inline(1)), LogOptions::default()));
        let log = log.unwrap();
        let entry = |index| Entry { log_id: at(1, index), payload: Payload::Blank };
        block_on(append_durably(&log, (0..4).map(entry).collect())).unwrap();
        log
    }

    #[test]
    fn entries_that_fit_what_is_applied_stay() {
        let log = log();
        for fits in [applied(1, 0), applied(1, 2), applied(1, 3), applied(2, 4), applied(2, 9)] {
            drop_contradicted(&log, fits).unwrap();
            assert_eq!(log.bounds(), (0, 4), "{fits:?}");
        }
        drop_contradicted(&log, LogId { term: Term(0), index: LogIndex(0) }).unwrap();
        assert_eq!(log.bounds(), (0, 4), "nothing is applied");
    }

    #[test]
    fn entries_that_contradict_what_is_applied_go() {
        for index in 0..4 {
            let log = log();
            drop_contradicted(&log, applied(2, index)).unwrap();
            assert_eq!(log.bounds(), (0, index), "applied entry {index} of term 2");
            for kept in 0..index {
                assert_eq!(log.read_one(kept).unwrap().unwrap().log_id, at(1, kept));
            }
            let next = Entry { log_id: at(2, index), payload: Payload::Blank };
            block_on(append_durably(&log, vec![next])).unwrap();
            assert_eq!(log.read_one(index).unwrap().unwrap().log_id, at(2, index));
        }
    }

    #[test]
    fn an_entry_after_a_purge_that_contradicts_what_is_applied_goes() {
        let log = log();
        log.purge_upto(at(1, 1)).unwrap();
        drop_contradicted(&log, applied(2, 2)).unwrap();
        assert_eq!((log.bounds(), log.purged()), ((2, 2), Some(at(1, 1))));
    }
}
