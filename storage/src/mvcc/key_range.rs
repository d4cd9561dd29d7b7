//! etcd's way to name a set of keys.

use std::ops::Bound;

use bytes::Bytes;

/// The keys named by `key` and `range_end`, as in Range, `DeleteRange`, Compare and Watch.
///
/// `range_end` empty: the one key. A single zero byte: everything from `key` on. Otherwise the keys
/// from `key` up to but without `range_end`; none if that is not above `key`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeyRange {
    /// One key.
    Single(Bytes),
    /// `start ≤ k < end`; may be empty.
    HalfOpen {
        /// The first key.
        start: Bytes,
        /// The first key behind the range.
        end: Bytes,
    },
    /// `start ≤ k`.
    From(Bytes),
}

impl KeyRange {
    /// Reads the wire's convention.
    pub fn new(key: Bytes, range_end: Bytes) -> Self {
        match range_end.as_ref() {
            [] => Self::Single(key),
            [0] => Self::From(key),
            _ => Self::HalfOpen { start: key, end: range_end },
        }
    }

    /// Whether `key` is in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::Single(only) => only == key,
            Self::HalfOpen { start, end } => start.as_ref() <= key && key < end.as_ref(),
            Self::From(start) => start.as_ref() <= key,
        }
    }

    /// The smallest key that may be in the range.
    pub fn start(&self) -> &Bytes {
        match self {
            Self::Single(start) | Self::HalfOpen { start, .. } | Self::From(start) => start,
        }
    }

    /// The upper bound.
    pub fn end(&self) -> Bound<&[u8]> {
        match self {
            Self::Single(only) => Bound::Included(only),
            Self::HalfOpen { end, .. } => Bound::Excluded(end),
            Self::From(_) => Bound::Unbounded,
        }
    }
}
