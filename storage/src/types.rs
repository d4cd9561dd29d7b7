//! Positions and identities. Each is its own type so that no two can be mistaken for one another.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl $name {
            /// The bare number, for the wire and for display.
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }
    };
}

number!(
    /// A member's id: 64 bits computed as etcd does, never reused after removal.
    NodeId(u64)
);
number!(
    /// A cluster's id: fixed when the cluster is bootstrapped.
    ClusterId(u64)
);
number!(
    /// A Raft term.
    Term(u64)
);
number!(
    /// A position in the Raft log. The first entry is 1; 0 means "before the log", so a fresh state
    /// machine has applied 0.
    LogIndex(u64)
);
number!(
    /// A main revision of the store. 1 is the empty store; each changing transaction takes the next.
    Revision(i64)
);
number!(
    /// How often a key was put since its creation; 1 on creation.
    Version(i64)
);
number!(
    /// A lease's id; 0 is "no lease". May be negative when a client chose it.
    LeaseId(i64)
);

impl LogIndex {
    /// The position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Revision {
    /// The revision of a store nobody has written to.
    pub const EMPTY_STORE: Self = Self(1);

    /// The compacted revision as etcd reports it before any compaction.
    pub const NEVER_COMPACTED: Self = Self(-1);

    /// The revision after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl LeaseId {
    /// "Attached to no lease".
    pub const NONE: Self = Self(0);

    /// Whether a lease is named at all.
    pub const fn is_some(self) -> bool {
        self.0 != 0
    }
}

/// An entry's identity in the log: position and the term it was proposed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId {
    /// The term of the leader that proposed the entry.
    pub term: Term,
    /// The entry's position.
    pub index: LogIndex,
}

/// One change: the transaction's revision and the change's place in it, counted from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RevisionKey {
    /// The transaction's revision.
    pub main: Revision,
    /// The change's place in the transaction, in execution order.
    pub sub: u32,
}
