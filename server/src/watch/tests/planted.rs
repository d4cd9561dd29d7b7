//! A check that cannot fail proves nothing: each finds the violation it is for, in a run that is right.

use vetch_proto::etcdserverpb::watch_request::RequestUnion;
use vetch_proto::etcdserverpb::{WatchCreateRequest, WatchResponse};

use super::checks::{self, Check};
use super::guarantees::ALL;
use super::plan::{Start, Step, carry_out};
use super::record::{End, Record};

/// One watcher of everything on a stream that reads now and then, past all bounds; one that is
/// compacted away.
fn record() -> Record {
    let everything = WatchCreateRequest {
        range_end: vec![0].into(),
        prev_kv: true,
        fragment: true,
        progress_notify: true,
        ..WatchCreateRequest::default()
    };
    let mut steps = vec![
        Step::Create(0, everything.clone(), Start::Now),
        Step::Rest(1),
        Step::Write(vec![(0, Some(3))]),
        Step::Write(vec![(0, Some(4)), (1, Some(5)), (2, Some(1))]),
        Step::Rest(1),
        Step::Read(0, 9),
        Step::Write(vec![(1, None)]),
        Step::Progress(0),
        Step::Rest(250),
        Step::Read(0, 9),
    ];
    steps.extend(
        (0..40).map(|number| Step::Write(vec![(number, Some(300)), (number + 1, Some(400))])),
    );
    steps.extend((0..40).flat_map(|_| [Step::Rest(1), Step::Read(0, 9)]));
    steps.extend([Step::Compact(0), Step::Create(1, everything, Start::Ahead(-3))]);
    steps.extend((0..9).map(|number| Step::Write(vec![(number, Some(20))])));
    carry_out(&steps, 1)
}

#[test]
fn a_right_run_passes_every_check_and_has_something_to_check() {
    let record = record();
    for (_, check) in ALL {
        check(&record).unwrap();
    }
    let heard = &record.streams[0].heard;
    assert!(heard.iter().any(|answer| answer.fragment), "fragments");
    assert!(heard.iter().any(|answer| answer.watch_id == -1), "requested progress");
    let is_notice = |answer: &WatchResponse| answer.events.is_empty() && answer.watch_id == 0;
    assert!(heard.iter().filter(|answer| is_notice(answer)).count() > 1, "progress by interval");
    let of_some_revisions = |answer: &WatchResponse| {
        let revisions = answer.events.iter().map(|e| e.kv.as_ref().map_or(0, |kv| kv.mod_revision));
        revisions.clone().min() != revisions.max()
    };
    assert!(!record.resumed.is_empty(), "a resumed watcher");
    assert!(record.streams[0].watchers().unwrap()[0].end == End::Open);
    let ended = record.streams[1].watchers().unwrap()[0].end;
    assert!(matches!(ended, End::Compacted(_)), "{ended:?}");
    let resumed = &record.streams[2].heard;
    assert!(heard.iter().chain(resumed).any(of_some_revisions), "several revisions in one answer");
}

/// Whether `check` finds what `plant` breaks.
fn finds(check: Check, plant: impl FnOnce(&mut Record)) {
    let mut record = record();
    plant(&mut record);
    check(&record).unwrap_err();
}

/// The first answer on stream 0 with so many events.
fn with_events(record: &mut Record, events: usize) -> usize {
    let heard = &record.streams[0].heard;
    heard.iter().position(|answer| answer.events.len() == events).unwrap()
}

#[test]
fn ordered_finds_two_answers_exchanged() {
    finds(checks::ordered, |record| {
        let (first, second) = (with_events(record, 1), with_events(record, 3));
        record.streams[0].heard.swap(first, second);
    });
}

#[test]
fn ordered_finds_two_events_of_a_revision_exchanged() {
    finds(checks::ordered, |record| {
        let at = with_events(record, 3);
        record.streams[0].heard[at].events.swap(0, 1);
    });
}

#[test]
fn unique_finds_an_answer_that_comes_twice() {
    finds(checks::unique, |record| {
        let at = with_events(record, 1);
        let again = record.streams[0].heard[at].clone();
        record.streams[0].heard.insert(at + 1, again);
    });
}

#[test]
fn atomic_finds_a_revision_in_two_answers() {
    finds(checks::atomic, |record| {
        let at = with_events(record, 3);
        let mut rest = record.streams[0].heard[at].clone();
        record.streams[0].heard[at].events.truncate(1);
        rest.events.remove(0);
        record.streams[0].heard.insert(at + 1, rest);
    });
}

#[test]
fn atomic_finds_part_of_a_revision_missing() {
    finds(checks::atomic, |record| {
        let at = with_events(record, 3);
        record.streams[0].heard[at].events.pop();
    });
}

#[test]
fn reliable_finds_a_lost_event_and_a_lost_end() {
    finds(checks::reliable, |record| {
        let at = with_events(record, 1);
        record.streams[0].heard.remove(at);
    });
    finds(checks::reliable, |record| {
        let last = record.streams[0].heard.iter().rposition(|answer| !answer.events.is_empty());
        record.streams[0].heard[last.unwrap()].events.pop();
    });
}

#[test]
fn reliable_finds_an_end_by_a_compaction_that_was_not() {
    finds(checks::reliable, |record| record.history.compacted -= 1);
}

#[test]
fn resumable_finds_an_event_between_the_two_watchers_lost() {
    finds(checks::resumable, |record| {
        let answers = &mut record.streams[2].heard;
        let first = answers.iter().position(|answer| !answer.events.is_empty()).unwrap();
        answers[first].events.remove(0);
    });
}

#[test]
fn bookmarkable_finds_progress_ahead_of_an_event() {
    finds(checks::bookmarkable, |record| {
        let heard = &mut record.streams[0].heard;
        let progress = heard.iter().position(|answer| answer.watch_id == -1).unwrap();
        heard.swap(progress - 1, progress);
    });
}

#[test]
fn bookmarkable_finds_progress_ahead_of_the_store() {
    finds(checks::bookmarkable, |record| {
        let last = record.streams[0].heard.iter_mut().rfind(|answer| answer.watch_id == -1);
        last.unwrap().header.as_mut().unwrap().revision += 1;
    });
}

#[test]
fn filter_finds_what_was_not_asked_for() {
    finds(checks::filter, |record| {
        let RequestUnion::CreateRequest(create) = &mut record.streams[0].asked[0] else { panic!() };
        create.filters = vec![1];
    });
    finds(checks::filter, |record| {
        let RequestUnion::CreateRequest(create) = &mut record.streams[0].asked[0] else { panic!() };
        create.range_end = b"b".as_slice().into();
    });
}

#[test]
fn prev_kv_finds_it_missing_and_finds_it_wrong() {
    let last_answer = |record: &Record| {
        record.streams[0].heard.iter().rposition(|answer| !answer.events.is_empty()).unwrap()
    };
    // What came before the last revision is not compacted: nothing excuses that it is missing.
    finds(checks::prev_kv, |record| {
        let at = last_answer(record);
        record.streams[0].heard[at].events[0].prev_kv = None;
    });
    finds(checks::prev_kv, |record| {
        let at = last_answer(record);
        record.streams[0].heard[at].events[0].prev_kv.as_mut().unwrap().version += 1;
    });
}

#[test]
fn is_create_finds_a_record_that_is_not_as_of_its_revision() {
    finds(checks::is_create, |record| {
        let at = with_events(record, 1);
        record.streams[0].heard[at].events[0].kv.as_mut().unwrap().create_revision -= 1;
    });
}

#[test]
fn headers_finds_one_that_went_back() {
    finds(checks::headers, |record| {
        let at = with_events(record, 3);
        record.streams[0].heard[at].header.as_mut().unwrap().revision = 1;
    });
}
