//! For tests, of this crate and of others (feature `testing`).
//!
//! - [`model`]: what etcd promises, written down as a program that is obvious and slow.
//! - [`generate`]: random logs and reads for it and for whatever is held against it.
//! - [`forget`]: makes an engine one that has lost a key without a trace.

pub mod generate;
mod loss;
pub mod model;

pub use loss::forget;
pub use model::Model;
