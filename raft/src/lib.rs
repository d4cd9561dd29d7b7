//! The replicated log: what is proposed here is on disk at a quorum before it is applied, and applied
//! on every member in the same order.
//!
//! **Invariant:** this crate knows no key, lease or watch; it moves encoded proposals into a
//! [`vetch_storage::StateMachine`] and answers out of it.
#![forbid(unsafe_code)]

pub(crate) mod apply;
pub mod disk;
pub mod log;
pub mod manifest;
pub mod platform;
pub mod replica;
pub mod transport;
pub mod types;

pub use openraft::AsyncRuntime;
pub use openraft::async_runtime::Instant;
pub use platform::Platform;
pub use replica::{
    ApplyObserver, Bootstrap, Divergence, LeaderChange, LeaderChanges, MemberChange,
    MemberChangeError, MemberRules, NoHash, OpenError, ProposeError, ReadIndexError, ReadMode,
    Replica, Settings, Start, Status, StopReason, TransferError,
};
