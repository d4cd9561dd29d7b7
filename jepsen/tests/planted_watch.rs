//! Each of the nine watch guarantees is broken on purpose; exactly its check must say so.

use std::collections::BTreeSet;
use vetch_jepsen::history::{Blob, Event, EventKind, KeyRange, Revision};
use vetch_jepsen::simulator::{Run, Shape, run};
use vetch_jepsen::watch::{
    Filter, Guarantee, WatchRecord, WatchResponse, WatchSession, WatchSpec, check,
};

/// A right run with one watch of everything, one response per revision, ending in progress.
fn good(seed: u64) -> Run {
    let shape = Shape { seed, watches: 0, ..Shape::default() };
    let mut run = run(shape);
    let mut spec = WatchSpec::new(KeyRange::all());
    spec.start = Some(Revision(2));
    spec.prev_kv = true;
    let mut records = vec![record(Revision(2), WatchResponse::Created)];
    for revision in run.log.revisions() {
        let events = run.log.at(revision).to_vec();
        records.push(record(revision, WatchResponse::Events { events, fragment: false }));
    }
    records.push(record(run.log.last(), WatchResponse::Progress));
    run.watches = vec![WatchSession { id: 0, spec, records }];
    assert_eq!(check(&run.watches, &run.log), []);
    run
}

fn record(revision: Revision, response: WatchResponse) -> WatchRecord {
    WatchRecord { received: vetch_jepsen::history::Stamp::default(), revision, response }
}

/// Plants a fault into good runs of several seeds.
fn broken(plant: impl Fn(&mut WatchSession)) -> BTreeSet<Guarantee> {
    (0..10)
        .flat_map(|seed| {
            let mut run = good(seed);
            plant(&mut run.watches[0]);
            let violations = check(&run.watches, &run.log);
            assert!(!violations.is_empty(), "seed {seed}: nothing noticed");
            violations
        })
        .map(|violation| violation.rule)
        .collect()
}

fn only(guarantee: Guarantee) -> BTreeSet<Guarantee> {
    BTreeSet::from([guarantee])
}

fn events(record: &mut WatchRecord) -> &mut Vec<Event> {
    let WatchResponse::Events { events, .. } = &mut record.response else { panic!("no events") };
    events
}

/// Position of the first record from `from` on whose events satisfy `wanted`.
fn find(session: &WatchSession, from: usize, wanted: impl Fn(&[Event]) -> bool) -> usize {
    let is_wanted = |record: &WatchRecord| match &record.response {
        WatchResponse::Events { events, .. } => wanted(events),
        WatchResponse::Created | WatchResponse::Progress | WatchResponse::Canceled { .. } => false,
    };
    let found = session.records.iter().skip(from).position(is_wanted);
    from + found.expect("the run has such events")
}

#[test]
fn ordered_revisions_swapped() {
    let found = broken(|session| session.records.swap(5, 6));
    assert_eq!(found, only(Guarantee::Ordered));
}

#[test]
fn ordered_events_of_one_revision_swapped() {
    let found = broken(|session| {
        let at = find(session, 1, |events| events.len() == 2);
        events(&mut session.records[at]).swap(0, 1);
    });
    assert_eq!(found, only(Guarantee::Ordered));
}

#[test]
fn unique_an_event_twice_in_one_response() {
    let found = broken(|session| {
        let copy = events(&mut session.records[5])[0].clone();
        events(&mut session.records[5]).insert(0, copy);
    });
    assert_eq!(found, only(Guarantee::Unique));
}

#[test]
fn unique_a_response_twice() {
    let found = broken(|session| {
        let copy = session.records[5].clone();
        session.records.insert(9, copy);
    });
    assert_eq!(found, only(Guarantee::Unique));
}

#[test]
fn atomic_a_revision_split_over_two_responses() {
    let found = broken(|session| {
        let at = find(session, 1, |events| events.len() == 2);
        let second = events(&mut session.records[at]).split_off(1);
        let response = WatchResponse::Events { events: second, fragment: false };
        session.records.insert(at + 1, record(Revision(0), response));
    });
    assert_eq!(found, only(Guarantee::Atomic));
}

#[test]
fn fragments_of_one_response_are_no_split() {
    let mut run = good(1);
    let session = &mut run.watches[0];
    session.spec.fragment = true;
    let at = find(session, 1, |events| events.len() == 2);
    let second = events(&mut session.records[at]).split_off(1);
    if let WatchResponse::Events { fragment, .. } = &mut session.records[at].response {
        *fragment = true;
    }
    let response = WatchResponse::Events { events: second, fragment: false };
    session.records.insert(at + 1, record(Revision(0), response));
    assert_eq!(check(&run.watches, &run.log), []);
}

#[test]
fn reliable_a_gap_between_events() {
    let found = broken(|session| drop(session.records.remove(10)));
    assert_eq!(found, only(Guarantee::Reliable));
}

#[test]
fn reliable_one_event_of_a_revision_missing() {
    let found = broken(|session| {
        let at = find(session, 2, |events| events.len() == 2);
        events(&mut session.records[at]).pop();
    });
    assert_eq!(found, only(Guarantee::Reliable));
}

#[test]
fn reliable_a_value_that_was_never_written() {
    let found = broken(|session| {
        let at = find(session, 2, |events| events[0].kind == EventKind::Put);
        events(&mut session.records[at])[0].kv.value = Blob::from("made up");
    });
    assert_eq!(found, only(Guarantee::Reliable));
}

#[test]
fn resumable_the_first_event_skipped() {
    let found = broken(|session| drop(session.records.remove(1)));
    assert_eq!(found, only(Guarantee::Resumable));
}

#[test]
fn resumable_an_event_from_before_the_start() {
    let found = broken(|session| session.spec.start = Some(Revision(4)));
    assert_eq!(found, only(Guarantee::Resumable));
}

#[test]
fn resumable_without_a_start_counts_from_the_creation() {
    let found = broken(|session| {
        session.spec.start = None;
        session.records[0].revision = Revision(1);
        session.records.remove(1);
    });
    assert_eq!(found, only(Guarantee::Resumable));
}

#[test]
fn bookmarkable_progress_before_its_events() {
    let found = broken(|session| {
        session.records.insert(8, record(Revision(12), WatchResponse::Progress));
    });
    assert_eq!(found, only(Guarantee::Bookmarkable));
}

#[test]
fn bookmarkable_progress_over_events_that_never_came() {
    let found = broken(|session| {
        let last_events = session.records.len() - 2;
        session.records.remove(last_events);
    });
    assert_eq!(found, only(Guarantee::Bookmarkable));
}

#[test]
fn bookmarkable_progress_without_any_event() {
    let found = broken(|session| {
        session.records.retain(|record| !matches!(record.response, WatchResponse::Events { .. }));
    });
    assert_eq!(found, only(Guarantee::Bookmarkable));
}

#[test]
fn bookmarkable_progress_going_back_or_beyond_the_store() {
    let found = broken(|session| {
        session.records.push(record(Revision(3), WatchResponse::Progress));
    });
    assert_eq!(found, only(Guarantee::Bookmarkable));
    let found = broken(|session| {
        session.records.push(record(Revision(1_000_000), WatchResponse::Progress));
    });
    assert_eq!(found, only(Guarantee::Bookmarkable));
}

#[test]
fn filter_a_kind_that_was_filtered_out() {
    let found = broken(|session| session.spec.filters.push(Filter::NoDelete));
    assert_eq!(found, only(Guarantee::Filter));
}

#[test]
fn filter_a_key_outside_the_range() {
    let found = broken(|session| session.spec.range = KeyRange::single("k0"));
    assert_eq!(found, only(Guarantee::Filter));
}

#[test]
fn prev_kv_of_an_older_version() {
    let found = broken(|session| {
        let at = find(session, 1, |events| events[0].prev.is_some());
        let prev = events(&mut session.records[at])[0].prev.as_mut().expect("found");
        prev.value = Blob::from("older");
    });
    assert_eq!(found, only(Guarantee::PrevKv));
}

#[test]
fn prev_kv_missing() {
    let found = broken(|session| {
        let at = find(session, 1, |events| events[0].prev.is_some());
        events(&mut session.records[at])[0].prev = None;
    });
    assert_eq!(found, only(Guarantee::PrevKv));
}

#[test]
fn prev_kv_sent_unasked() {
    let found = broken(|session| session.spec.prev_kv = false);
    assert_eq!(found, only(Guarantee::PrevKv));
}

#[test]
fn is_create_claimed_for_an_overwrite() {
    let found = broken(|session| {
        let at = find(session, 1, |events| events[0].kv.version > 1);
        let kv = &mut events(&mut session.records[at])[0].kv;
        kv.version = 1;
        kv.create_revision = kv.mod_revision;
    });
    assert_eq!(found, only(Guarantee::IsCreate));
}

#[test]
fn is_create_denied_to_a_creation() {
    let found = broken(|session| {
        let at = find(session, 2, |events| events[0].kv.version == 1);
        events(&mut session.records[at])[0].kv.version = 2;
    });
    assert_eq!(found, only(Guarantee::IsCreate));
}
