//! Checks a history as a whole or key by key.

use super::explanation::Stuck;
use super::key_model::KeyModel;
use super::model::{Call, Model};
use super::resolve::resolve;
use super::search::{Budget, Search, search};
use super::store_model::StoreModel;
use crate::history::{Blob, LeaseId, Op, Operation};
use crate::persisted::PersistedLog;
use crate::store::Store;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The verdict on a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Linearizability {
    /// An order exists.
    Linearizable {
        /// Calls that had to be placed.
        calls: usize,
    },
    /// No order exists.
    Violated {
        /// The partition, where the history was partitioned.
        key: Option<Blob>,
        /// Where the search got stuck.
        stuck: Box<Stuck>,
    },
    /// The search gave up; the history is neither proved nor refuted, which is no pass.
    Undecided {
        /// Configurations visited.
        configurations: usize,
    },
    /// Operations span keys, so the history cannot be taken apart.
    NotPartitionable {
        /// Such an operation.
        operation: u64,
    },
}

impl Linearizability {
    /// True if an order was found.
    pub fn holds(&self) -> bool {
        matches!(self, Self::Linearizable { .. })
    }
}

impl fmt::Display for Linearizability {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linearizable { calls } => write!(out, "linearizable ({calls} calls)"),
            Self::Violated { key: Some(key), stuck } => write!(out, "key {key:?}: {stuck}"),
            Self::Violated { key: None, stuck } => stuck.fmt(out),
            Self::Undecided { configurations } => {
                write!(out, "undecided after {configurations} configurations")
            }
            Self::NotPartitionable { operation } => {
                write!(out, "operation {operation} spans keys")
            }
        }
    }
}

/// Checks the whole store, revisions included, from an empty store on.
///
/// With `persisted`, operations without an answer are held to it; without, those that nobody saw
/// may take effect anywhere, which only small histories can afford.
pub fn check_store(history: &[Operation], persisted: Option<&PersistedLog>) -> Linearizability {
    let model = StoreModel::new(Store::default());
    let model = match persisted {
        Some(log) => model.persisted_as(log),
        None => model,
    };
    let calls = resolve(history, persisted);
    verdict(search(&model, &calls, Budget::default()), &calls, None)
}

/// Checks each key on its own.
///
/// By locality a history of single-key operations is linearizable if it is for every key; what
/// this cannot see is the revision that keys share (that is [`check_store`]'s part). Without
/// `persisted` it stands on the clients' word alone.
pub fn check_by_key(history: &[Operation], persisted: Option<&PersistedLog>) -> Linearizability {
    let mut leased: BTreeMap<LeaseId, BTreeSet<&Blob>> = BTreeMap::new();
    for put in history.iter().flat_map(|operation| operation.op.puts()) {
        leased.entry(put.lease).or_default().insert(&put.key);
    }
    let mut partitions: BTreeMap<&Blob, Vec<Call<'_, KeyModel>>> = BTreeMap::new();
    for call in resolve::<KeyModel>(history, persisted) {
        match (call.op, call.op.only_key()) {
            (Op::LeaseRevoke { lease }, _) => {
                for key in leased.get(lease).into_iter().flatten() {
                    partitions.entry(key).or_default().push(call);
                }
            }
            (_, Some(key)) => partitions.entry(key).or_default().push(call),
            (_, None) => return Linearizability::NotPartitionable { operation: call.id },
        }
    }
    let mut placed = 0;
    for (key, calls) in partitions {
        match verdict(search(&KeyModel, &calls, Budget::default()), &calls, Some(key)) {
            Linearizability::Linearizable { calls } => placed += calls,
            other @ (Linearizability::Violated { .. }
            | Linearizability::Undecided { .. }
            | Linearizability::NotPartitionable { .. }) => return other,
        }
    }
    Linearizability::Linearizable { calls: placed }
}

fn verdict<M: Model>(
    outcome: Search,
    calls: &[Call<'_, M>],
    key: Option<&Blob>,
) -> Linearizability {
    match outcome {
        Search::Found(_) => Linearizability::Linearizable {
            calls: calls.iter().filter(|call| call.complete.is_some()).count(),
        },
        Search::Impossible(stuck) => Linearizability::Violated { key: key.cloned(), stuck },
        Search::Exhausted { configurations } => Linearizability::Undecided { configurations },
    }
}
