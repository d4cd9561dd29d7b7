//! The names.

/// A promise of etcd's watch API
/// (<https://etcd.io/docs/v3.6/learning/api_guarantees/#watch-apis>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Guarantee {
    /// Events come in the order of their revisions, within one revision in execution order.
    Ordered,
    /// No event comes twice on one watch.
    Unique,
    /// The events of one revision come in one response (fragments of it counted as one).
    Atomic,
    /// Between two events that came, none that happened is missing; nothing comes that did not
    /// happen.
    Reliable,
    /// A watch from a revision begins with the first event at or after it.
    Resumable,
    /// A progress response at a revision means every event up to it has been sent.
    Bookmarkable,
    /// Only events of the watched range and kind come.
    Filter,
    /// `prev_kv` is the key right before the event, and comes if and only if it was asked for and
    /// there was such a key.
    PrevKv,
    /// An event is a creation (version 1, create = mod revision) if and only if the key was absent.
    IsCreate,
}

impl Guarantee {
    /// All nine.
    pub const ALL: [Self; 9] = [
        Self::Ordered,
        Self::Unique,
        Self::Atomic,
        Self::Reliable,
        Self::Resumable,
        Self::Bookmarkable,
        Self::Filter,
        Self::PrevKv,
        Self::IsCreate,
    ];
}
