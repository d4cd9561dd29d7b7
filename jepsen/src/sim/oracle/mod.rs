//! What must hold at every step, whatever happens to the members.
//!
//! - `consensus`: overhears the members: one leader per term, votes kept, logs that match, nothing
//!   committed replaced, what was promised to be on disk found there
//! - `state`: hears what is applied: the same at the same position on every member and in every life
//! - `leases`: hears grants, renewals and expiries: no lease shortened
//!
//! None of them asks a member anything: they see what leaves it, what it applies, and its disk.

mod consensus;
mod leases;
mod state;

use std::sync::Arc;

use parking_lot::Mutex;
use vetch_proto::vetchpb::proposal::Command;
use vetch_proto::vetchpb::{AppendReply, AppendRequest, PeerReply, PeerRequest};
use vetch_raft::log::reader::Listing;
use vetch_storage::engine::mem::MemEngine;
use vetch_storage::{Applied, LeaseId, LogIndex, NodeId, ReadView, Term};

use self::consensus::Consensus;
use self::leases::Leases;
use self::state::Applies;
use super::coverage::{Coverage, Reached};
use super::machine::Overhear;
use super::trace::{Trace, hash_of};
use crate::persisted::PersistedLog;

pub use self::consensus::Promise;

/// All step oracles of one world. Clones are the same.
#[derive(Clone)]
pub struct Oracle {
    shared: Arc<Shared>,
}

struct Shared {
    trace: Trace,
    coverage: Coverage,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    consensus: Consensus,
    applies: Applies,
    leases: Leases,
    violations: Vec<String>,
}

/// More would say nothing new.
const MAX_VIOLATIONS: usize = 20;

impl Oracle {
    /// Oracles of a world that has not begun.
    pub fn new(trace: Trace, coverage: Coverage) -> Self {
        let shared = Shared { trace, coverage, inner: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Everything that must not be.
    pub fn violations(&self) -> Vec<String> {
        self.shared.inner.lock().violations.clone()
    }

    /// Notes something that must not be.
    pub fn violated(&self, what: impl Into<String>) {
        self.report(vec![what.into()]);
    }

    /// The history that was applied.
    pub fn history(&self) -> PersistedLog {
        self.shared.inner.lock().applies.history.clone()
    }

    /// What a member has promised to have on disk.
    pub fn promise(&self, member: NodeId) -> Promise {
        self.shared.inner.lock().consensus.promise(member)
    }

    /// A member's log as it is found before the member starts, and the end of the state it last got from
    /// a peer.
    pub fn log_found(&self, member: NodeId, found: Option<&Listing>, installed: LogIndex) {
        let broken = self.shared.inner.lock().consensus.log_found(member, found, installed);
        self.report(broken);
    }

    /// The member's disks are gone, and with them what it has promised: it must not answer as itself
    /// again.
    pub fn wiped(&self, member: NodeId) {
        self.shared.inner.lock().consensus.forget(member);
    }

    /// A member says that it leads.
    pub fn leads(&self, member: NodeId, term: Term) {
        let broken = self.shared.inner.lock().consensus.leads(member.0, term.0);
        self.report(broken);
    }

    /// A member has applied these, and shows this state.
    pub fn applied(&self, member: NodeId, view: &ReadView<MemEngine>, applied: &[Arc<Applied>]) {
        let hashes: Vec<u64> = applied.iter().map(|one| hash_of(&**one)).collect();
        self.shared.trace.mix((member.0, &hashes, view.digest()));
        let broken = {
            let mut guard = self.shared.inner.lock();
            let inner = &mut *guard;
            let mut broken = Vec::new();
            for (one, hash) in applied.iter().zip(&hashes) {
                let newest = inner.consensus.newest_leader();
                if let Some(found) = inner.applies.entry(member.0, one, *hash, newest) {
                    broken.push(found);
                }
                broken.extend(inner.leases.changed(&one.lease_changes));
            }
            let at = view.applied();
            broken.extend(inner.applies.state(member.0, at, view.digest(), view.revision()));
            broken
        };
        self.report(broken);
    }

    /// A member was given a whole state.
    pub fn installed(&self, member: NodeId, view: &ReadView<MemEngine>) {
        self.shared.coverage.reach(Reached::Installed);
        let at = view.applied().index;
        self.shared.trace.note(format_args!("m{member} is given the state at {at}"));
        self.applied(member, view, &[]);
    }

    /// A member carries out a command.
    pub fn command(&self, command: &Command, applied: &Applied) {
        let coverage = &self.shared.coverage;
        let mut inner = self.shared.inner.lock();
        match command {
            Command::LeaseExpire(_) => {
                let new = inner.leases.expire(applied);
                coverage.add(Reached::Expired, new);
            }
            Command::LeaseCheckpoint(request) if applied.response.is_ok() => {
                let recorded = request.checkpoints.iter().any(|one| one.remaining_ttl > 0);
                coverage.add(Reached::LeaseCheckpoint, u64::from(recorded));
            }
            Command::LeaseCheckpoint(_)
            | Command::Put(_)
            | Command::DeleteRange(_)
            | Command::Txn(_)
            | Command::Compaction(_)
            | Command::LeaseGrant(_)
            | Command::LeaseRevoke(_)
            | Command::Alarm(_)
            | Command::ClusterVersionSet(_)
            | Command::MemberPublish(_)
            | Command::MemberUpdate(_) => {}
        }
    }

    /// A client was told that a lease it asked for at `asked` (of the world's time) runs for `ttl`
    /// seconds: a grant or a renewal.
    pub fn lease_promised(&self, id: LeaseId, ttl: i64, asked: std::time::Duration) {
        let broken = self.shared.inner.lock().leases.promised(id, ttl, asked);
        self.report(broken.into_iter().collect());
    }

    fn report(&self, broken: Vec<String>) {
        for what in broken {
            let mut inner = self.shared.inner.lock();
            if inner.violations.len() < MAX_VIOLATIONS && !inner.violations.contains(&what) {
                inner.violations.push(what.clone());
                drop(inner);
                self.shared.trace.note(format_args!("VIOLATION: {what}"));
            }
        }
    }
}

impl std::fmt::Debug for Oracle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Oracle").field("violations", &self.violations()).finish_non_exhaustive()
    }
}

impl Overhear for Oracle {
    fn append_heard(&self, to: NodeId, request: &AppendRequest) {
        let vote = request.vote.map(|vote| (vote.term, vote.candidate));
        self.shared.trace.mix((to.0, vote, request.prev.map(|at| at.index), request.entries.len()));
        let broken = {
            let mut guard = self.shared.inner.lock();
            let Inner { consensus, applies, .. } = &mut *guard;
            consensus.append_heard(to, request, applies)
        };
        self.report(broken);
    }

    fn append_answered(&self, from: NodeId, term: u64, reply: &AppendReply) {
        let (truncated, broken) = {
            let consensus = &mut self.shared.inner.lock().consensus;
            let broken = consensus.took_without_memory(from, reply);
            (consensus.append_answered(from, term, reply), broken)
        };
        self.shared.coverage.add(Reached::Truncated, u64::from(truncated));
        self.report(broken.into_iter().collect());
    }

    fn answered(&self, from: NodeId, request: &PeerRequest, reply: &PeerReply) {
        self.shared.trace.mix((from.0, hash_of(reply)));
        let broken = self.shared.inner.lock().consensus.answered(from, request, reply);
        self.report(broken);
    }
}

#[cfg(test)]
mod tests;
