//! A panic is a bug: it is logged, and ends the process.

use std::time::Duration;

use crate::logging::LineQueue;

/// From now on a panic of any thread is logged, given a second to be written, and aborts.
///
/// Unwinding would leave a member that answers while one of its parts is dead.
pub fn abort_after_logging(queue: LineQueue) {
    std::panic::set_hook(Box::new(move |info| {
        let message = info.payload_as_str().unwrap_or("a panic without a message");
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        let stacktrace = std::backtrace::Backtrace::force_capture().to_string();
        tracing::error!(message, place, thread, stacktrace, panic = true);
        let _late = queue.flush(Duration::from_secs(1));
        std::process::abort();
    }));
}
