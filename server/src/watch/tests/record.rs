//! What was asked and what was heard on each stream, told apart by watcher.

use std::collections::{BTreeMap, BTreeSet};

use vetch_proto::etcdserverpb::watch_create_request::FilterType;
use vetch_proto::etcdserverpb::watch_request::RequestUnion;
use vetch_proto::etcdserverpb::{WatchCreateRequest, WatchResponse};
use vetch_proto::mvccpb::Event;

use super::history::{Change, History};

/// One stream, from its first to its last answer.
#[derive(Clone, Debug, Default)]
pub(super) struct StreamRecord {
    pub(super) asked: Vec<RequestUnion>,
    pub(super) heard: Vec<WatchResponse>,
}

/// A whole run: everything was read, and the streams were still open.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) history: History,
    pub(super) streams: Vec<StreamRecord>,
    /// Of the last streams, each with one watcher: which watcher it resumes, by stream and number,
    /// and the revision up to which that one counts.
    pub(super) resumed: Vec<(usize, usize, i64)>,
}

/// How a watcher ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Open,
    Cancelled,
    /// With the compacted revision it was told.
    Compacted(i64),
}

#[derive(Clone, Debug)]
pub(super) struct Watcher {
    pub(super) request: WatchCreateRequest,
    /// The first revision it is to hear of.
    pub(super) start: i64,
    /// Its answers with events, or its own progress, by their place on the stream.
    pub(super) heard: Vec<(usize, WatchResponse)>,
    /// Where on the stream it began and ended.
    pub(super) began: usize,
    pub(super) ended: usize,
    pub(super) end: End,
}

/// What the requests of a stream must be answered with, in order.
#[derive(Debug)]
enum Due {
    Created { id: i64, request: WatchCreateRequest },
    Refused(&'static str),
    Cancelled { id: i64 },
}

impl Watcher {
    /// What it is to hear, by the specification: one filter over what happened.
    pub(super) fn expected<'a>(&self, history: &'a History) -> Vec<&'a Change> {
        let wanted = |change: &&Change| change.revision >= self.start && self.wants(change);
        history.changes.iter().filter(wanted).collect()
    }

    pub(super) fn wants(&self, change: &Change) -> bool {
        let filters: Vec<FilterType> = self.request.filters().collect();
        let dropped = if change.is_put() { FilterType::Noput } else { FilterType::Nodelete };
        covers(&self.request, change.key()) && !filters.contains(&dropped)
    }

    pub(super) fn events(&self) -> impl Iterator<Item = &Event> {
        self.heard.iter().flat_map(|(_, answer)| &answer.events)
    }

    /// Its events as places in the history; `Err` with one that never happened.
    pub(super) fn places(&self, history: &History) -> Result<Vec<usize>, String> {
        let place = |event: &Event| {
            let kv = event.kv.clone().unwrap_or_default();
            let is_it = |c: &Change| c.revision == kv.mod_revision && c.key() == kv.key.as_ref();
            let found = history.changes.iter().position(is_it);
            found.ok_or_else(|| format!("{event:?} never happened"))
        };
        self.events().map(place).collect()
    }
}

fn covers(request: &WatchCreateRequest, key: &[u8]) -> bool {
    let start: &[u8] = if request.key.is_empty() { &[0] } else { &request.key };
    match request.range_end.as_ref() {
        [] => key == start,
        [0] => key >= start,
        end => key >= start && key < end,
    }
}

impl StreamRecord {
    /// Goes through the stream as a client would; `Err` is a broken protocol.
    pub(super) fn watchers(&self) -> Result<Vec<Watcher>, String> {
        let mut due = due(&self.asked).into_iter();
        let mut all: Vec<Watcher> = Vec::new();
        let mut open: BTreeMap<i64, usize> = BTreeMap::new();
        for (place, answer) in self.heard.iter().enumerate() {
            let id = answer.watch_id;
            let broken = |what: &str| Err(format!("answer {place}: {what}: {answer:?}"));
            if answer.created {
                match due.next() {
                    Some(Due::Created { id: expected, request }) if expected == id => {
                        if answer.canceled || open.contains_key(&id) {
                            return broken("not a plain creation");
                        }
                        open.insert(id, all.len());
                        all.push(Watcher::begun(request, answer, place));
                    }
                    Some(Due::Refused(reason))
                        if answer.canceled && id == -1 && answer.cancel_reason == reason => {}
                    other => return broken(&format!("due was {other:?}")),
                }
            } else if answer.canceled && answer.compact_revision == 0 {
                match due.next() {
                    Some(Due::Cancelled { id: expected }) if expected == id => {}
                    other => return broken(&format!("due was {other:?}")),
                }
                // One that compaction ended is no longer open; its cancellation is answered all the same.
                if let Some(watcher) = open.remove(&id).and_then(|number| all.get_mut(number)) {
                    watcher.ended = place;
                    watcher.end = End::Cancelled;
                }
            } else if answer.canceled {
                let Some(number) = open.remove(&id) else { return broken("nobody to end") };
                if answer.header.as_ref().is_none_or(|header| header.revision != 0) {
                    return broken("a revision in the header");
                }
                let watcher = &mut all[number];
                watcher.ended = place;
                watcher.end = End::Compacted(answer.compact_revision);
            } else if id != -1 || !answer.events.is_empty() {
                let Some(number) = open.get(&id) else { return broken("for no open watcher") };
                all[*number].heard.push((place, answer.clone()));
            }
        }
        match due.next() {
            Some(request) => Err(format!("never answered: {request:?}")),
            None => Ok(all),
        }
    }
}

impl Watcher {
    fn begun(request: WatchCreateRequest, answer: &WatchResponse, place: usize) -> Self {
        let now = answer.header.as_ref().map_or(0, |header| header.revision) + 1;
        let start = if request.start_revision == 0 { now } else { request.start_revision };
        let heard = Vec::new();
        Self { request, start, heard, began: place, ended: usize::MAX, end: End::Open }
    }
}

/// The rules of ids and refusals: automatic ids count from 0, skip those in use and never go back; an
/// id is in use until its cancellation is asked for.
fn due(asked: &[RequestUnion]) -> Vec<Due> {
    let (mut in_use, mut next, mut due) = (BTreeSet::new(), 0, Vec::new());
    for request in asked {
        match request {
            RequestUnion::CreateRequest(create) => due.push({
                let start: &[u8] = if create.key.is_empty() { &[0] } else { &create.key };
                let end = create.range_end.as_ref();
                if create.start_revision < 0 {
                    Due::Refused("etcdserver: mvcc: required revision has been compacted")
                } else if end.len() > usize::from(end == [0]) && end <= start {
                    Due::Refused("mvcc: watcher range is empty")
                } else if in_use.contains(&create.watch_id) && create.watch_id != 0 {
                    Due::Refused("mvcc: duplicate watch ID provided on the WatchStream")
                } else {
                    let mut id = create.watch_id;
                    if id == 0 {
                        while in_use.contains(&next) {
                            next += 1;
                        }
                        id = next;
                        next += 1;
                    }
                    in_use.insert(id);
                    Due::Created { id, request: create.clone() }
                }
            }),
            RequestUnion::CancelRequest(cancel) => {
                if in_use.remove(&cancel.watch_id) {
                    due.push(Due::Cancelled { id: cancel.watch_id });
                }
            }
            RequestUnion::ProgressRequest(_) => {}
        }
    }
    due
}
