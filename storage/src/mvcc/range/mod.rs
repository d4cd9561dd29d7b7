//! Range requests: which records, in which order, and their bytes.
//!
//! Everything but values comes from the index, so a plan knows count, `more` and the exact length of
//! its answer before it reads one value; records are then read in small windows, so that a list of a
//! million keys takes the memory of one window.
//!
//! - `plan`: a request worked out, and how much of it has been handed out.
//! - `selection`: which keys, as of which revision. `order`: how they are sorted.
//! - `records`: values read beside their keys, and the bytes of the answer.

mod order;
mod plan;
mod records;
mod selection;

pub(crate) use plan::RangePlan;
