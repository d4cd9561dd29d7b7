//! Filter, `PrevKv`, `IsCreate`.

use super::delivery::Delivery;
use super::guarantee::Guarantee;
use crate::history::{Event, EventKind, Revision};
use crate::persisted::{PersistedLog, Replay};

pub(super) fn check(
    delivery: &Delivery<'_>,
    log: &PersistedLog,
    replay: &Replay,
    report: &mut impl FnMut(Guarantee, String),
) {
    for event in delivery.events() {
        if !delivery.spec.wants(event) {
            report(Guarantee::Filter, format!("{event:?} was not asked for"));
            continue;
        }
        // An event that never happened is a matter of Reliable; it has no true content.
        if log.at(event.revision()).iter().any(|other| other.kv.key == event.kv.key) {
            prev_kv(delivery, log, replay, event, report);
            is_create(replay, event, report);
        }
    }
}

fn prev_kv(
    delivery: &Delivery<'_>,
    log: &PersistedLog,
    replay: &Replay,
    event: &Event,
    report: &mut impl FnMut(Guarantee, String),
) {
    let before = Revision(event.revision().0 - 1);
    let due = replay.key_at(&event.kv.key, before).filter(|_| delivery.spec.prev_kv);
    // The server need not have the key as it was before a revision that was compacted.
    let compacted = event.prev.is_none() && event.revision() <= log.compacted();
    if event.prev.as_ref() != due && !compacted {
        report(Guarantee::PrevKv, format!("{event:?} where {due:?} came before"));
    }
}

fn is_create(replay: &Replay, event: &Event, report: &mut impl FnMut(Guarantee, String)) {
    let (create_revision, version) = match event.kind {
        EventKind::Delete => (Revision(0), 0),
        EventKind::Put => match replay.key_at(&event.kv.key, event.revision()) {
            Some(kv) => (kv.create_revision, kv.version),
            // Put and deleted again within its revision: the replay keeps only the outcome.
            None => return,
        },
    };
    if (event.kv.create_revision, event.kv.version) != (create_revision, version) {
        let evidence = format!(
            "{event:?} where create revision {create_revision} and version {version} are due"
        );
        report(Guarantee::IsCreate, evidence);
    }
}
