//! A replica's whole state as a stream of bytes: what a new or lagging member is given.
//!
//! - `chunk`: the encoding; every chunk carries its number and a checksum.
//! - [`Export`]: reads the state of a view, family by family, while writes and compaction go on.
//! - [`Import`]: fills an empty engine from the chunks, and reads it back before it says so.
//!
//! Exactly what a reader of the view can see is in it, and the replicated facts beside it. What a
//! compaction still has to delete stays behind: for the receiver it has been deleted.

mod chunk;
mod export;
mod facts;
mod import;
mod run;

pub use chunk::ChunkError;
pub use export::Export;
pub use import::{Import, ImportError, Imported};
