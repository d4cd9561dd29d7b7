//! Members so far behind that no log has what they lack: they are given the whole state.

mod behind;
mod counted;
mod failures;
mod given;
mod network;

use behind::short_logs;

use super::*;
