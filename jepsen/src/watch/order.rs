//! Ordered, Unique, Atomic.

use super::delivery::Delivery;
use super::guarantee::Guarantee;
use crate::history::{Blob, Event, Revision};
use crate::persisted::PersistedLog;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(
    delivery: &Delivery<'_>,
    log: &PersistedLog,
    report: &mut impl FnMut(Guarantee, String),
) {
    ordered(delivery, log, report);
    unique(delivery, log, report);
    atomic(delivery, report);
}

/// A repeated event is no disorder: only first appearances are compared.
fn ordered(
    delivery: &Delivery<'_>,
    log: &PersistedLog,
    report: &mut impl FnMut(Guarantee, String),
) {
    let mut seen = BTreeSet::new();
    let mut last: Option<(Revision, usize, &Event)> = None;
    for event in delivery.events() {
        if !seen.insert(identity(event)) {
            continue;
        }
        let revision = event.revision();
        let within = log.at(revision).iter().position(|other| identity(other) == identity(event));
        let at = (revision, within.unwrap_or(usize::MAX), event);
        if let Some(last) = last
            && (at.0, at.1) < (last.0, last.1)
        {
            report(Guarantee::Ordered, format!("{:?} came after {:?}", at.2, last.2));
        }
        last = Some(at);
    }
}

fn unique(delivery: &Delivery<'_>, log: &PersistedLog, report: &mut impl FnMut(Guarantee, String)) {
    let mut times: BTreeMap<(Revision, &Blob), usize> = BTreeMap::new();
    for event in delivery.events() {
        let count = times.entry(identity(event)).or_default();
        *count += 1;
        // One transaction may change a key twice (a put under an open-ended delete).
        let persisted = log.at(event.revision()).iter();
        let due = persisted.filter(|other| identity(other) == identity(event)).count();
        if *count > due.max(1) {
            report(Guarantee::Unique, format!("{event:?} came {count} times"));
        }
    }
}

fn atomic(delivery: &Delivery<'_>, report: &mut impl FnMut(Guarantee, String)) {
    let mut earlier: BTreeMap<(Revision, &Blob), usize> = BTreeMap::new();
    let mut told_in: BTreeMap<Revision, usize> = BTreeMap::new();
    for (index, batch) in delivery.batches().enumerate() {
        for event in batch {
            // A second copy of an event is a matter of Unique.
            if *earlier.entry(identity(event)).or_insert(index) != index {
                continue;
            }
            if *told_in.entry(event.revision()).or_insert(index) != index {
                let revision = event.revision();
                report(Guarantee::Atomic, format!("revision {revision} split over responses"));
            }
        }
    }
}

/// A revision changes a key once, but for that one oddity.
fn identity(event: &Event) -> (Revision, &Blob) {
    (event.revision(), &event.kv.key)
}
