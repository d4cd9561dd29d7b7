//! For tests, of this crate and of others (feature `testing`).
//!
//! - [`model`]: what etcd promises, written down as a program that is obvious and slow.
//! - [`generate`]: random logs and reads for it and for whatever is held against it.

pub mod generate;
pub mod model;

pub use model::Model;
