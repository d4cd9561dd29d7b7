//! A session as the checks read it.

use super::session::{WatchResponse, WatchSession, WatchSpec};
use crate::history::{Event, Revision};

/// What came, with fragments joined to the response they are parts of.
#[derive(Debug)]
pub(super) struct Delivery<'a> {
    pub(super) spec: &'a WatchSpec,
    /// First revision promised, if the watch was ever created.
    pub(super) first: Option<Revision>,
    /// In the order received.
    pub(super) items: Vec<Item<'a>>,
    /// The history below this was gone before it could be sent.
    pub(super) compacted: Option<Revision>,
}

/// One response, or one progress.
#[derive(Debug)]
pub(super) enum Item<'a> {
    Batch(Vec<&'a Event>),
    Progress(Revision),
}

impl<'a> Delivery<'a> {
    pub(super) fn new(session: &'a WatchSession) -> Self {
        let mut items = Vec::new();
        let mut compacted = None;
        let mut open: Option<Vec<&Event>> = None;
        for record in &session.records {
            match &record.response {
                WatchResponse::Events { events, fragment } => {
                    let mut batch = open.take().unwrap_or_default();
                    batch.extend(events);
                    if *fragment {
                        open = Some(batch);
                    } else {
                        items.push(Item::Batch(batch));
                    }
                }
                WatchResponse::Progress => items.push(Item::Progress(record.revision)),
                WatchResponse::Canceled { compact_revision, .. } => {
                    compacted = (compact_revision.0 > 0).then_some(*compact_revision);
                }
                WatchResponse::Created => {}
            }
        }
        // The connection may end between two fragments: what came is still judged.
        items.extend(open.map(Item::Batch));
        Self { spec: &session.spec, first: session.first_revision(), items, compacted }
    }

    /// All events in the order received.
    pub(super) fn events(&self) -> impl Iterator<Item = &'a Event> {
        self.batches().flatten().copied()
    }

    /// The events of each response.
    pub(super) fn batches(&self) -> impl Iterator<Item = &Vec<&'a Event>> {
        self.items.iter().filter_map(|item| match item {
            Item::Batch(batch) => Some(batch),
            Item::Progress(_) => None,
        })
    }
}
