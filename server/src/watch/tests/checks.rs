//! etcd's nine guarantees of watch, each as a check of a whole run.

use std::collections::BTreeMap;

use prost::Message;
use vetch_proto::etcdserverpb::WatchResponse;
use vetch_proto::mvccpb::Event;

use super::member::SMALL;
use super::record::{End, Record, Watcher};

pub(super) type Check = fn(&Record) -> Result<(), String>;

/// Events come in the order of their revisions, and within one as they were carried out.
pub(super) fn ordered(record: &Record) -> Result<(), String> {
    every_watcher(record, |watcher| {
        let places = watcher.places(&record.history)?;
        all(places.is_sorted(), || format!("out of order: {places:?}"))
    })
}

/// No event comes twice to one watcher.
pub(super) fn unique(record: &Record) -> Result<(), String> {
    every_watcher(record, |watcher| {
        let mut places = watcher.places(&record.history)?;
        places.sort_unstable();
        let twice = places.windows(2).find(|pair| pair[0] == pair[1]);
        all(twice.is_none(), || format!("{twice:?} came twice"))
    })
}

/// All of a revision comes in one answer; in fragments of bounded size, the last of them marked, where
/// that was asked for.
pub(super) fn atomic(record: &Record) -> Result<(), String> {
    every_watcher(record, |watcher| {
        let mut answer_of = BTreeMap::new();
        for (number, events) in joined(watcher)?.iter().enumerate() {
            for event in events {
                let revision = event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
                let first = *answer_of.entry(revision).or_insert(number);
                all(first == number, || format!("{revision} is in answers {first} and {number}"))?;
            }
        }
        for revision in answer_of.into_keys() {
            let of_it = |c: &&&_| -> bool {
                let c: &super::history::Change = c;
                c.revision == revision
            };
            let expected = watcher.expected(&record.history).iter().filter(of_it).count();
            let is_it = |e: &&Event| e.kv.as_ref().is_some_and(|kv| kv.mod_revision == revision);
            let heard = watcher.events().filter(is_it).count();
            all(heard == expected, || format!("{heard} of {expected} events of {revision}"))?;
        }
        Ok(())
    })
}

/// Nothing is left out: what came is the beginning of what was due, and all of it where the watcher is
/// still open. One that ended by a compaction lacks only what was compacted.
pub(super) fn reliable(record: &Record) -> Result<(), String> {
    every_watcher(record, |watcher| {
        let expected = watcher.expected(&record.history);
        let expected: Vec<_> = expected.iter().map(|c| (c.revision, c.key().to_vec())).collect();
        let heard: Vec<_> = watcher.events().map(place).collect();
        all(expected.starts_with(&heard), || format!("due {expected:?}, heard {heard:?}"))?;
        match watcher.end {
            End::Open => {
                all(heard.len() == expected.len(), || format!("of {expected:?} only {heard:?}"))
            }
            End::Cancelled => Ok(()),
            End::Compacted(at) => {
                let real = watcher.start < at && at <= record.history.compacted;
                all(real, || format!("ended for the compaction of {at}"))?;
                let last = heard.last().map_or(0, |(revision, _)| *revision);
                all(last + 1 < at, || format!("ended for {at} though it had heard {last}"))
            }
        }
    })
}

/// A watcher that begins behind what another had heard goes on exactly there.
pub(super) fn resumable(record: &Record) -> Result<(), String> {
    let first = record.streams.len() - record.resumed.len();
    for (stream, (of_stream, number, until)) in record.streams[first..].iter().zip(&record.resumed)
    {
        let original = record.streams[*of_stream].watchers()?.remove(*number);
        let resumed = stream.watchers()?.remove(0);
        let heard: Vec<_> = original
            .events()
            .map(place)
            .take_while(|(revision, _)| revision <= until)
            .chain(resumed.events().map(place))
            .collect();
        let expected = original.expected(&record.history);
        let expected: Vec<_> = expected.iter().map(|c| (c.revision, c.key().to_vec())).collect();
        all(heard == expected, || {
            format!("resumed at {until}: due {expected:?}, heard {heard:?}")
        })?;
    }
    Ok(())
}

/// Progress at a revision comes behind every event up to it and before every later one; it is never
/// ahead of the store, nor below what a watcher waits for.
pub(super) fn bookmarkable(record: &Record) -> Result<(), String> {
    for stream in &record.streams {
        let watchers = stream.watchers()?;
        for (at, answer) in stream.heard.iter().enumerate() {
            let of_all = answer.watch_id == -1;
            if answer.created || answer.canceled || !answer.events.is_empty() {
                continue;
            }
            let revision = answer.header.as_ref().map_or(0, |header| header.revision);
            let ahead = revision > record.history.revision || revision <= 0;
            all(!ahead, || format!("progress at {revision}"))?;
            let concerned = |w: &&Watcher| {
                let is_its = w.heard.iter().any(|(place, _)| *place == at);
                w.began < at && at < w.ended && (of_all || is_its)
            };
            for watcher in watchers.iter().filter(concerned) {
                bookmark(record, watcher, at, revision)?;
            }
        }
    }
    Ok(())
}

fn bookmark(record: &Record, watcher: &Watcher, at: usize, revision: i64) -> Result<(), String> {
    all(watcher.start <= revision + 1, || format!("progress at {revision} for {watcher:?}"))?;
    let due = watcher.expected(&record.history);
    let due = due.iter().filter(|change| change.revision <= revision).count();
    let before = watcher.heard.iter().filter(|(place, _)| *place < at);
    let events: Vec<&Event> = before.flat_map(|(_, answer)| &answer.events).collect();
    let complete = events.len() == due && events.iter().all(|event| place(event).0 <= revision);
    all(complete, || format!("progress at {revision} behind {} of {due} events", events.len()))
}

/// Nothing comes that was not asked for: other keys, filtered kinds, revisions before the start.
pub(super) fn filter(record: &Record) -> Result<(), String> {
    every_watcher(record, |watcher| {
        for place in watcher.places(&record.history)? {
            let change = &record.history.changes[place];
            let wanted = watcher.wants(change) && change.revision >= watcher.start;
            all(wanted, || format!("not asked for: {change:?}"))?;
        }
        Ok(())
    })
}

/// The previous record comes with an event where it was asked for; it may be missing only once it is
/// compacted.
pub(super) fn prev_kv(record: &Record) -> Result<(), String> {
    every_watcher(record, |watcher| {
        for (place, event) in watcher.places(&record.history)?.into_iter().zip(watcher.events()) {
            let change = &record.history.changes[place];
            let expected = change.event.prev_kv.as_ref().filter(|_| watcher.request.prev_kv);
            let compacted = change.revision - 1 < record.history.compacted;
            let excused = event.prev_kv.is_none() && compacted;
            let right = event.prev_kv.as_ref() == expected || excused;
            all(right, || format!("due {expected:?}, heard {event:?}"))?;
        }
        Ok(())
    })
}

/// The record is as of its revision, so that a creation can be told from a change.
pub(super) fn is_create(record: &Record) -> Result<(), String> {
    every_watcher(record, |watcher| {
        for (place, event) in watcher.places(&record.history)?.into_iter().zip(watcher.events()) {
            let change = &record.history.changes[place];
            let right = event.kv == change.event.kv && event.r#type == change.event.r#type;
            all(right, || format!("due {change:?}, heard {event:?}"))?;
            let created = event.kv.as_ref().is_some_and(|kv| kv.create_revision == kv.mod_revision);
            let existed = change.event.prev_kv.is_some();
            all(created == (change.is_put() && !existed), || format!("creation? {event:?}"))?;
        }
        Ok(())
    })
}

/// Beside the guarantees: what a header tells never goes back on a stream.
pub(super) fn headers(record: &Record) -> Result<(), String> {
    for stream in &record.streams {
        let told = stream.heard.iter().filter_map(|answer| Some(answer.header.as_ref()?.revision));
        let told: Vec<i64> = told.filter(|revision| *revision > 0).collect();
        all(told.is_sorted(), || format!("headers went back: {told:?}"))?;
    }
    Ok(())
}

/// A watcher's events by answer, fragments put together again.
fn joined(watcher: &Watcher) -> Result<Vec<Vec<Event>>, String> {
    let (mut answers, mut parts) = (Vec::new(), Vec::new());
    for (_, answer) in &watcher.heard {
        check_fragment(watcher, answer)?;
        parts.extend(answer.events.iter().cloned());
        if !answer.fragment {
            answers.push(std::mem::take(&mut parts));
        }
    }
    all(parts.is_empty(), || "a last fragment never came".to_owned())?;
    Ok(answers)
}

fn check_fragment(watcher: &Watcher, answer: &WatchResponse) -> Result<(), String> {
    let asked = watcher.request.fragment;
    all(asked || !answer.fragment, || "a fragment nobody asked for".to_owned())?;
    let bytes: usize = answer.events.iter().map(Message::encoded_len).sum();
    let fits = !asked || answer.events.len() < 2 || bytes <= SMALL.fragment_bytes;
    all(fits, || format!("a fragment of {bytes} bytes"))
}

fn place(event: &Event) -> (i64, Vec<u8>) {
    event.kv.as_ref().map_or((0, Vec::new()), |kv| (kv.mod_revision, kv.key.to_vec()))
}

fn every_watcher(
    record: &Record,
    check: impl Fn(&Watcher) -> Result<(), String>,
) -> Result<(), String> {
    for stream in &record.streams {
        for watcher in stream.watchers()? {
            check(&watcher).map_err(|what| format!("{what}; of {:?}", watcher.request))?;
        }
    }
    Ok(())
}

fn all(holds: bool, broken: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(broken()) }
}
