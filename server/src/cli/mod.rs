//! Everything between `main` and the node: versions, exit codes, signals, panics.

mod announce;
mod exit;
mod panics;
mod program;
mod signals;

pub use announce::announce;
pub use exit::{fail, print, refuse};
pub use panics::abort_after_logging;
pub use program::{Program, version_lines};
pub use signals::{Signals, StopSignal};
