//! The group changes: members come, are promoted, leave and are replaced, while writes go on.

mod disturbed;
mod growth;
mod joiners;
mod operator;
mod refusals;
mod removal;

use operator::{LAX, shows};
pub(super) use operator::{add, assert_removed, remove};

use super::*;
