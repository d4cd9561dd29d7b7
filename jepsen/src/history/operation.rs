//! One call of one client: what it asked, when, and what it was told.

use super::{Blob, KeyRange, KeyValue, LeaseId, Revision, Stamp};
use serde::{Deserialize, Serialize};

/// A put.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Put {
    /// The key.
    pub key: Blob,
    /// The value. Workloads write each value once, which is what lets a checker tell writes apart.
    pub value: Blob,
    /// Lease to attach the key to.
    #[serde(default, skip_serializing_if = "LeaseId::is_none")]
    pub lease: LeaseId,
    /// Ask for the overwritten key.
    #[serde(default)]
    pub prev_kv: bool,
}

/// A read of a key or a range.
#[expect(clippy::struct_field_names, reason = "the protocol's words for the call and its keys")]
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Range {
    /// The keys.
    pub range: KeyRange,
    /// Read as of this revision instead of now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// The answer may be stale, but must be a state the store was in.
    #[serde(default)]
    pub serializable: bool,
}

/// A delete of a key or a range.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Delete {
    /// The keys.
    pub range: KeyRange,
    /// Ask for the deleted keys.
    #[serde(default)]
    pub prev_kv: bool,
}

/// How a compare relates the stored value to the expected one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Relation {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// stored `<` expected
    Less,
    /// stored `>` expected
    Greater,
}

/// What a compare looks at, with what it expects there. An absent key compares as 0 everywhere but
/// in `Value`, which is then false for every relation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Expected {
    /// The mod revision.
    ModRevision(Revision),
    /// The create revision.
    CreateRevision(Revision),
    /// The version.
    Version(i64),
    /// The value.
    Value(Blob),
}

/// One condition of a transaction, on one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Compare {
    /// The key.
    pub key: Blob,
    /// Which field, and the right-hand side.
    pub expected: Expected,
    /// The relation.
    pub relation: Relation,
}

/// One operation inside a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Step {
    /// A put.
    Put(Put),
    /// A read; sees the earlier steps of its transaction.
    Range(Range),
    /// A delete.
    Delete(Delete),
}

/// A transaction over one or several keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Txn {
    /// All must hold for `success` to run.
    pub compares: Vec<Compare>,
    /// Runs when all compares hold.
    pub success: Vec<Step>,
    /// Runs otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failure: Vec<Step>,
}

impl Txn {
    /// The steps of the branch that ran.
    pub fn branch(&self, succeeded: bool) -> &[Step] {
        if succeeded { &self.success } else { &self.failure }
    }

    fn steps(&self) -> impl Iterator<Item = &Step> {
        self.success.iter().chain(&self.failure)
    }
}

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Op {
    /// A put.
    Put(Put),
    /// A read.
    Range(Range),
    /// A delete.
    Delete(Delete),
    /// A transaction.
    Txn(Txn),
    /// A revoke by a client, or the expiry of a lease: all its keys go in one revision.
    LeaseRevoke {
        /// The lease.
        lease: LeaseId,
    },
}

impl Op {
    /// True if the operation can never change the store.
    pub fn is_read(&self) -> bool {
        match self {
            Self::Range(_) => true,
            Self::Txn(txn) => txn.steps().all(|step| matches!(step, Step::Range(_))),
            Self::Put(_) | Self::Delete(_) | Self::LeaseRevoke { .. } => false,
        }
    }

    /// True for a read that need not see the newest state: serializable, or of a named revision.
    /// Its answer is judged against the replay, not against real time.
    pub fn is_replayed_read(&self) -> bool {
        matches!(self, Self::Range(range) if range.serializable || range.revision.is_some())
    }

    /// Every put the operation may execute, in either branch.
    pub fn puts(&self) -> Vec<&Put> {
        match self {
            Self::Put(put) => vec![put],
            Self::Txn(txn) => txn
                .steps()
                .filter_map(|step| match step {
                    Step::Put(put) => Some(put),
                    Step::Range(_) | Step::Delete(_) => None,
                })
                .collect(),
            Self::Range(_) | Self::Delete(_) | Self::LeaseRevoke { .. } => Vec::new(),
        }
    }

    /// True if the operation could delete `key`, as far as its text tells. A revoke could delete
    /// any key.
    pub fn may_delete(&self, key: &Blob) -> bool {
        match self {
            Self::Delete(delete) => delete.range.contains(key),
            Self::Txn(txn) => txn.steps().any(|step| match step {
                Step::Delete(delete) => delete.range.contains(key),
                Step::Put(_) | Step::Range(_) => false,
            }),
            Self::LeaseRevoke { .. } => true,
            Self::Put(_) | Self::Range(_) => false,
        }
    }

    /// The one key this operation reads and writes, or `None` if it may touch several.
    pub fn only_key(&self) -> Option<&Blob> {
        let single = |range: &'_ KeyRange| range.is_single();
        match self {
            Self::Put(put) => Some(&put.key),
            Self::Range(Range { range, .. }) | Self::Delete(Delete { range, .. }) => {
                single(range).then_some(&range.key)
            }
            Self::Txn(txn) => {
                let mut keys = txn.compares.iter().map(|compare| Some(&compare.key)).chain(
                    txn.steps().map(|step| match step {
                        Step::Put(put) => Some(&put.key),
                        Step::Range(Range { range, .. }) | Step::Delete(Delete { range, .. }) => {
                            single(range).then_some(&range.key)
                        }
                    }),
                );
                let first = keys.next()??;
                keys.all(|key| key == Some(first)).then_some(first)
            }
            Self::LeaseRevoke { .. } => None,
        }
    }
}

/// The part of an answer that depends on the kind of operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Answer {
    /// To a put.
    Put {
        /// The overwritten key, where asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prev: Option<KeyValue>,
    },
    /// To a read.
    Range {
        /// Keys in key order.
        kvs: Vec<KeyValue>,
        /// Number of keys in the range.
        count: i64,
    },
    /// To a delete.
    Delete {
        /// How many keys went.
        deleted: i64,
        /// The deleted keys, where asked for.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        prev: Vec<KeyValue>,
    },
    /// To a transaction.
    Txn {
        /// Which branch ran.
        succeeded: bool,
        /// One answer per step of that branch.
        answers: Vec<Answer>,
    },
    /// To a revoke.
    LeaseRevoke,
}

/// An answer with the store revision of its header.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Response {
    /// `header.revision`.
    pub revision: Revision,
    /// The rest.
    pub answer: Answer,
}

/// What the client knows about its call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Answered.
    Ok(Response),
    /// Refused: it has not taken effect and never will.
    Fail(String),
    /// No answer, or an error that does not say: it may have taken effect, or still will.
    Unknown(String),
}

/// One entry of a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Position in the recording; unique.
    pub id: u64,
    /// Who called. A client has at most one call open.
    pub client: u32,
    /// When the call was made.
    pub invoke: Stamp,
    /// When its outcome was known; `None` if the run ended first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete: Option<Stamp>,
    /// What was asked.
    pub op: Op,
    /// What came back.
    pub outcome: Outcome,
}

impl Operation {
    /// The answer, if there was one.
    pub fn response(&self) -> Option<&Response> {
        match &self.outcome {
            Outcome::Ok(response) => Some(response),
            Outcome::Fail(_) | Outcome::Unknown(_) => None,
        }
    }

    /// True if it may have taken effect without the client knowing.
    pub fn is_unknown(&self) -> bool {
        matches!(self.outcome, Outcome::Unknown(_))
    }
}
