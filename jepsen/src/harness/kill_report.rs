//! What a run of kills came to.

use super::collect::Evidence;
use super::findings::Finding;
use crate::history::{EventKind, Outcome, Revision};
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// What a run came to.
#[derive(Debug)]
pub struct KillReport {
    /// Everything that must not be; empty is a pass.
    pub findings: Vec<Finding>,
    /// Rounds carried out, and how many of their kills hit a server that was still starting.
    pub rounds: (u32, u32),
    /// Operations answered, refused, and without an answer.
    pub outcomes: (usize, usize, usize),
    /// Of those answered, how many changed the store.
    pub acknowledged_writes: usize,
    /// Keys that went with their lease.
    pub expired_keys: usize,
    /// Watch sessions, and events they were sent.
    pub watches: (usize, usize),
    /// The last revision, and the last compaction.
    pub revisions: (Revision, Revision),
    /// Median and longest time from start to the first answer.
    pub restart: (Duration, Duration),
}

impl fmt::Display for KillReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ok, refused, unknown) = self.outcomes;
        writeln!(out, "rounds: {} ({} killed while starting)", self.rounds.0, self.rounds.1)?;
        writeln!(out, "operations: {ok} answered, {refused} refused, {unknown} without an answer")?;
        writeln!(out, "acknowledged writes: {}", self.acknowledged_writes)?;
        writeln!(out, "keys expired with their lease: {}", self.expired_keys)?;
        writeln!(out, "watch sessions: {}, events: {}", self.watches.0, self.watches.1)?;
        writeln!(out, "last revision: {}, compacted: {}", self.revisions.0, self.revisions.1)?;
        writeln!(
            out,
            "start to first answer: median {:?}, max {:?}",
            self.restart.0, self.restart.1
        )?;
        writeln!(out, "findings: {}", self.findings.len())?;
        self.findings.iter().take(20).try_for_each(|finding| writeln!(out, "- {finding}"))
    }
}

impl KillReport {
    pub(super) fn new(
        findings: Vec<Finding>,
        rounds: (u32, u32),
        evidence: &Evidence,
        starts: &[Duration],
    ) -> Self {
        let count = |wanted: fn(&Outcome) -> bool| {
            evidence.history.iter().filter(|operation| wanted(&operation.outcome)).count()
        };
        Self {
            findings,
            rounds,
            outcomes: (
                count(|outcome| matches!(outcome, Outcome::Ok(_))),
                count(|outcome| matches!(outcome, Outcome::Fail(_))),
                count(|outcome| matches!(outcome, Outcome::Unknown(_))),
            ),
            acknowledged_writes: acknowledged_writes(evidence),
            expired_keys: expired_keys(evidence),
            watches: (
                evidence.watches.len(),
                evidence.watches.iter().map(|session| session.events().count()).sum(),
            ),
            revisions: (evidence.log.last(), evidence.log.compacted()),
            restart: (median(starts), starts.iter().max().copied().unwrap_or_default()),
        }
    }
}

/// Operations that may have changed the store and were answered.
pub(super) fn acknowledged_writes(evidence: &Evidence) -> usize {
    let answered = evidence.history.iter().filter(|operation| !operation.op.is_read());
    answered.filter(|operation| operation.response().is_some()).count()
}

/// Leased keys deleted at a revision that no client was given: their lease expired, or the answer
/// was lost.
fn expired_keys(evidence: &Evidence) -> usize {
    let given: BTreeSet<Revision> = evidence
        .history
        .iter()
        .filter(|operation| !operation.op.is_read())
        .filter_map(|operation| operation.response().map(|response| response.revision))
        .collect();
    let deletes = evidence.log.events().filter(|event| event.kind == EventKind::Delete);
    let leased = deletes.filter(|event| event.kv.key.as_slice().starts_with(b"leased"));
    leased.filter(|event| !given.contains(&event.revision())).count()
}

pub(super) fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
