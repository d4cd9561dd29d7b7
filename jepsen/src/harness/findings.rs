//! Runs all checkers over what a run left behind.

use super::collect::Evidence;
use crate::linearizability::{Linearizability, check_by_key, check_store};
use crate::persisted::Replay;
use crate::violation::Violation;
use crate::{durability, serializable, watch};
use std::fmt;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// No order of the operations explains the answers, or none was found within the budget.
    Linearizability(Linearizability),
    /// A stale or historical read answered what was never there.
    Serializable(Violation<serializable::Rule>),
    /// A watch broke its promise.
    Watch(Violation<watch::Guarantee>),
    /// Something acknowledged is not there.
    Durability(Violation<durability::Rule>),
    /// The server process misbehaved.
    Server(String),
    /// The run did too little to show anything.
    Vacuous(String),
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linearizability(verdict) => write!(out, "linearizability: {verdict}"),
            Self::Serializable(violation) => write!(out, "serializable read: {violation}"),
            Self::Watch(violation) => write!(out, "watch: {violation}"),
            Self::Durability(violation) => write!(out, "durability: {violation}"),
            Self::Server(what) => write!(out, "server: {what}"),
            Self::Vacuous(what) => write!(out, "vacuous run: {what}"),
        }
    }
}

/// Every checker's findings.
pub fn judge(evidence: &Evidence) -> Vec<Finding> {
    let Evidence { history, watches, log, final_keys } = evidence;
    let mut findings: Vec<Finding> = durability::check(history, watches, log, final_keys)
        .into_iter()
        .map(Finding::Durability)
        .collect();
    findings.extend(watch::check(watches, log).into_iter().map(Finding::Watch));
    let replay = Replay::new(log);
    findings.extend(serializable::check(history, &replay).into_iter().map(Finding::Serializable));
    for verdict in [check_store(history, Some(log)), check_by_key(history, Some(log))] {
        match verdict {
            Linearizability::Linearizable { .. } | Linearizability::NotPartitionable { .. } => {}
            Linearizability::Violated { .. } | Linearizability::Undecided { .. } => {
                findings.push(Finding::Linearizability(verdict));
            }
        }
    }
    findings
}
