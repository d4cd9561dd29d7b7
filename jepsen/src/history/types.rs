//! The words of the etcd data model that histories are written in.

use super::Blob;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A main revision of the store. An empty store is at 1; each changing transaction takes the next.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Revision(pub i64);

impl Revision {
    /// The revision of a store that was never written.
    pub const EMPTY_STORE: Self = Self(1);

    /// The revision the next changing transaction takes.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.0)
    }
}

/// A lease; 0 means none.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct LeaseId(pub i64);

impl LeaseId {
    /// "No lease" on the wire.
    pub const NONE: Self = Self(0);

    /// True for [`LeaseId::NONE`].
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes &T")]
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }
}

/// A key with its metadata, as the server returned it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyValue {
    /// The key.
    pub key: Blob,
    /// The value.
    #[serde(default, skip_serializing_if = "Blob::is_empty")]
    pub value: Blob,
    /// Revision of the put that created the key.
    pub create_revision: Revision,
    /// Revision of the last change.
    pub mod_revision: Revision,
    /// Number of puts since the creation; 1 on creation, 0 in a delete event.
    pub version: i64,
    /// The lease the key is attached to.
    #[serde(default, skip_serializing_if = "LeaseId::is_none")]
    pub lease: LeaseId,
}

/// What an event says happened to its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EventKind {
    /// The key was created or overwritten.
    Put,
    /// The key was deleted, by a client or with its lease.
    Delete,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The key as of the change; a delete carries only key and mod revision.
    pub kv: KeyValue,
    /// The key before the change, where the watcher asked for it and it existed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev: Option<KeyValue>,
}

impl Event {
    /// The revision the change took.
    pub fn revision(&self) -> Revision {
        self.kv.mod_revision
    }

    /// The same change without `prev`, to compare what happened independent of what was asked for.
    #[must_use]
    pub fn without_prev(&self) -> Self {
        Self { prev: None, ..self.clone() }
    }
}

/// A key or a range of keys in etcd's convention: empty `end` is the single key, `"\0"` is "to the
/// end of the key space", anything else is exclusive.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyRange {
    /// First key.
    pub key: Blob,
    /// End of the range in etcd's convention.
    #[serde(default, skip_serializing_if = "Blob::is_empty")]
    pub end: Blob,
}

impl KeyRange {
    /// Exactly one key.
    pub fn single(key: impl Into<Blob>) -> Self {
        Self { key: key.into(), end: Blob::default() }
    }

    /// From the first key up to, not including, the second.
    pub fn between(key: impl Into<Blob>, end: impl Into<Blob>) -> Self {
        Self { key: key.into(), end: end.into() }
    }

    /// The whole key space.
    pub fn all() -> Self {
        Self { key: Blob::from("\0"), end: Blob::from("\0") }
    }

    /// True if this names one key only.
    pub fn is_single(&self) -> bool {
        self.end.is_empty()
    }

    /// True if `key` is in the range.
    pub fn contains(&self, key: &Blob) -> bool {
        if self.is_single() {
            return *key == self.key;
        }
        *key >= self.key && (self.end.as_slice() == b"\0" || *key < self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::{Blob, KeyRange};

    #[test]
    fn ranges_follow_etcds_convention() {
        let key = Blob::from("b");
        assert!(KeyRange::single("b").contains(&key));
        assert!(!KeyRange::single("a").contains(&key));
        assert!(KeyRange::between("a", "c").contains(&key));
        assert!(!KeyRange::between("a", "b").contains(&key));
        assert!(KeyRange::between("b", "\0").contains(&key));
        assert!(!KeyRange::between("c", "\0").contains(&key));
        assert!(KeyRange::all().contains(&key));
    }
}
