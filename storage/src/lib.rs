//! The replicated state machine: each committed log entry becomes an [`Applied`] answer, events and
//! lease changes, and a new immutable [`ReadView`].
//!
//! **Invariant:** nothing here is asynchronous, reads a clock, draws randomness or depends on hash
//! order; two replicas that apply the same log hold the same bytes.
#![forbid(unsafe_code)]

pub mod alarm;
mod atomic_file;
pub mod command;
mod courtesy;
pub mod engine;
pub mod error;
pub mod event;
pub mod file_space;
pub mod lease;
pub mod machine;
pub mod member;
pub mod mvcc;
pub mod planted;
mod schema;
pub mod snapshot;
#[cfg(feature = "testing")]
pub mod testing;
pub mod types;
pub mod view;

pub use command::{Applied, Entry, LeaseChange, Response};
pub use engine::Engine;
pub use error::{ApplyError, Fatal};
pub use event::{Event, EventBatch, EventKind};
pub use machine::StateMachine;
pub use planted::Planted;
pub use types::{
    ClusterId, LeaseId, LogId, LogIndex, NodeId, Revision, RevisionKey, Term, Version,
};
pub use view::{ReadView, Views};
