//! etcd's nine watch guarantees, each checked on its own against the persisted order of events.
//!
//! - `session`: what one watcher asked for and was sent
//! - `guarantee`: the nine names
//! - `delivery`: a session with fragments joined, as the checks read it
//! - `order`: Ordered, Unique, Atomic — need the session only
//! - `completeness`: Reliable, Resumable, Bookmarkable — what had to come
//! - `content`: Filter, `PrevKv`, `IsCreate` — what each event says

mod completeness;
mod content;
mod delivery;
mod guarantee;
mod order;
mod session;

pub use guarantee::Guarantee;
pub use session::{Filter, WatchRecord, WatchResponse, WatchSession, WatchSpec};

use crate::persisted::{PersistedLog, Replay};
use crate::violation::Violation;
use delivery::Delivery;

/// Holds every session against the persisted log, which must begin with an empty store.
///
/// The checks overlap as little as the names allow: one planted fault, one broken guarantee.
pub fn check(sessions: &[WatchSession], log: &PersistedLog) -> Vec<Violation<Guarantee>> {
    let replay = Replay::new(log);
    let mut violations = Vec::new();
    for session in sessions {
        let delivery = Delivery::new(session);
        let mut report = |guarantee, evidence: String| {
            let evidence = format!("watch {} ({:?}): {evidence}", session.id, session.spec);
            violations.push(Violation::new(guarantee, evidence));
        };
        order::check(&delivery, log, &mut report);
        completeness::check(&delivery, log, &mut report);
        content::check(&delivery, log, &replay, &mut report);
    }
    violations
}
