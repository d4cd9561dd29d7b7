//! Reliable, Resumable, Bookmarkable.

use super::delivery::{Delivery, Item};
use super::guarantee::Guarantee;
use crate::history::{Blob, Event, EventKind, LeaseId, Revision};
use crate::persisted::PersistedLog;
use std::collections::BTreeSet;

pub(super) fn check(
    delivery: &Delivery<'_>,
    log: &PersistedLog,
    report: &mut impl FnMut(Guarantee, String),
) {
    reliable(delivery, log, report);
    resumable(delivery, log, report);
    bookmarkable(delivery, log, report);
}

/// What must be told of an event. Creation and version are a matter of `IsCreate`.
type Told<'a> = (Revision, &'a Blob, EventKind, &'a Blob, LeaseId);

fn told(event: &Event) -> Told<'_> {
    (event.revision(), &event.kv.key, event.kind, &event.kv.value, event.kv.lease)
}

/// The wanted events that came, as a set: order and repetition are other guarantees' matters.
fn received<'a>(delivery: &Delivery<'a>) -> BTreeSet<Told<'a>> {
    delivery.events().filter(|event| delivery.spec.wants(event)).map(told).collect()
}

/// The wanted events the store persisted.
fn due<'a>(delivery: &Delivery<'_>, log: &'a PersistedLog) -> impl Iterator<Item = &'a Event> {
    let spec = delivery.spec.clone();
    log.events().filter(move |event| spec.wants(event))
}

fn reliable(
    delivery: &Delivery<'_>,
    log: &PersistedLog,
    report: &mut impl FnMut(Guarantee, String),
) {
    let received = received(delivery);
    let revisions = || received.iter().map(|told| told.0);
    let (Some(first), Some(last)) = (revisions().min(), revisions().max()) else { return };
    // A cut connection may lose the rest of a response that was sent in fragments.
    let cut = delivery.spec.fragment.then_some(last);
    let within = |event: &&Event| first <= event.revision() && event.revision() <= last;
    let happened: BTreeSet<Told<'_>> = due(delivery, log).filter(within).map(told).collect();
    for missing in happened.difference(&received) {
        if cut != Some(missing.0) {
            report(Guarantee::Reliable, format!("{missing:?} happened and did not come"));
        }
    }
    for phantom in received.difference(&happened) {
        report(Guarantee::Reliable, format!("{phantom:?} came and never happened"));
    }
}

fn resumable(
    delivery: &Delivery<'_>,
    log: &PersistedLog,
    report: &mut impl FnMut(Guarantee, String),
) {
    let Some(start) = delivery.first else { return };
    let wanted = || delivery.events().filter(|event| delivery.spec.wants(event));
    let Some(first) = wanted().map(Event::revision).min() else { return };
    if first < start {
        report(Guarantee::Resumable, format!("asked from {start}, told {first}"));
    }
    if delivery.compacted.is_some_and(|compacted| compacted >= start) {
        return;
    }
    if let Some(skipped) =
        due(delivery, log).find(|event| start <= event.revision() && event.revision() < first)
    {
        let evidence = format!("asked from {start}, began at {first}, skipped {skipped:?}");
        report(Guarantee::Resumable, evidence);
    }
}

fn bookmarkable(
    delivery: &Delivery<'_>,
    log: &PersistedLog,
    report: &mut impl FnMut(Guarantee, String),
) {
    let Some(start) = delivery.first else { return };
    let mut seen: BTreeSet<(Revision, &Blob)> = BTreeSet::new();
    let mut told_last = Revision(0);
    let mut bookmark = Revision(0);
    for item in &delivery.items {
        match item {
            Item::Batch(batch) => {
                for event in batch {
                    let new = seen.insert((event.revision(), &event.kv.key));
                    if new && event.revision() <= bookmark && delivery.spec.wants(event) {
                        let evidence = format!("{event:?} came after progress at {bookmark}");
                        report(Guarantee::Bookmarkable, evidence);
                    }
                    told_last = told_last.max(event.revision());
                }
            }
            Item::Progress(revision) => {
                if *revision < bookmark {
                    let evidence = format!("progress at {revision} after progress at {bookmark}");
                    report(Guarantee::Bookmarkable, evidence);
                }
                if *revision > log.last() {
                    let last = log.last();
                    let evidence = format!("progress at {revision}, the store ended at {last}");
                    report(Guarantee::Bookmarkable, evidence);
                }
                bookmark = bookmark.max(*revision);
            }
        }
    }
    // Gaps before the last event that came are matters of Reliable and Resumable.
    if let Some(owed) = due(delivery, log).find(|event| {
        let revision = event.revision();
        start <= revision && told_last < revision && revision <= bookmark
    }) {
        report(Guarantee::Bookmarkable, format!("progress at {bookmark} hides {owed:?}"));
    }
}
