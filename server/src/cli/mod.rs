//! Everything between `main` and the node: versions, exit codes, signals, panics, systemd.

mod announce;
mod exit;
mod panics;
mod program;
mod signals;
mod systemd;

pub use announce::announce;
pub use exit::{fail, misused, print, refuse};
pub use panics::abort_after_logging;
pub use program::{Program, version_lines};
pub use signals::{Signals, StopSignal};
pub use systemd::notify_ready;
