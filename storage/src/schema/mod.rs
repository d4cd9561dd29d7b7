//! Every byte this crate stores: the only module that knows how a fact becomes a key and a value of
//! the engine.
//!
//! | engine family | key | value | module |
//! |---|---|---|---|
//! | `Versions` | user key (escaped, terminated), !main, !sub | one version of one key | [`version`] |
//! | `Revisions` | main, sub | what changed there: key, index facts, previous version | [`change`] |
//! | `State` | one tag byte, then the id | everything else that is replicated | [`state`] |
//!
//! Every value ends in a CRC-32 over its key and its bytes ([`checksum`]), checked on every read:
//! a flipped bit, or a value stored under another key, is [`Fatal::Corrupt`](crate::Fatal), never data.
//! All integers are big-endian or base-128 varints.

pub(crate) mod change;
pub(crate) mod checksum;
pub(crate) mod state;
pub(crate) mod user_key;
pub(crate) mod version;
