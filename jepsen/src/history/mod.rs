//! What clients did and what they were told.
//!
//! - `blob`: bytes of keys and values, readable in a file
//! - `types`: positions, keys with their metadata, events
//! - `operation`: one call, its answer and its outcome
//! - `recorder`: collects operations from many tasks
//! - `jsonl`: one record per line, to inspect and re-check a failing run

mod blob;
mod jsonl;
mod operation;
mod recorder;
mod types;

pub use blob::Blob;
pub use jsonl::{read_lines, write_lines};
pub use operation::{
    Answer, Compare, Delete, Expected, Op, Operation, Outcome, Put, Range, Relation, Response,
    Step, Txn,
};
pub use recorder::{OpId, Recorder, Stamp};
pub use types::{Event, EventKind, KeyRange, KeyValue, LeaseId, Revision};
