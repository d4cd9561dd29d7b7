//! The whole store: every answer must be exactly the one a sequential store gives, revisions
//! included.

use super::model::Model;
use crate::history::{Event, EventKind, Op, Response};
use crate::persisted::PersistedLog;
use crate::store::Store;

/// The sequential store, optionally held to the order of events it persisted.
#[derive(Clone, Debug, Default)]
pub struct StoreModel<'a> {
    initial: Store,
    persisted: Option<&'a PersistedLog>,
}

impl<'a> StoreModel<'a> {
    /// A store that begins as `initial`.
    pub fn new(initial: Store) -> Self {
        Self { initial, persisted: None }
    }

    /// Lets an operation without an answer take effect only where the store persisted just that
    /// effect. This is what keeps the search linear: each revision admits one write.
    #[must_use]
    pub fn persisted_as(self, persisted: &'a PersistedLog) -> Self {
        Self { persisted: Some(persisted), ..self }
    }

    fn unanswered(&self, state: &Store, op: &Op) -> Result<Store, String> {
        let Some(log) = self.persisted else {
            let applied = state.apply(op);
            let changed = !applied.events.is_empty();
            return changed.then_some(applied.store).ok_or_else(|| "changes nothing".into());
        };
        let revision = state.revision().next();
        let persisted = log.at(revision);
        if !persisted.first().is_some_and(|event| may_cause(op, event)) {
            return Err(format!("is not what was persisted at {revision}: {persisted:?}"));
        }
        let applied = state.apply(op);
        let same =
            applied.events.len() == persisted.len()
                && applied.events.iter().zip(persisted).all(|(event, persisted)| {
                    event.kind == persisted.kind && event.kv == persisted.kv
                });
        same.then_some(applied.store)
            .ok_or_else(|| format!("would persist {:?}, not {persisted:?}", applied.events))
    }
}

/// A cheap look before the store is copied.
fn may_cause(op: &Op, event: &Event) -> bool {
    match event.kind {
        EventKind::Delete => op.may_delete(&event.kv.key),
        EventKind::Put => {
            op.puts().iter().any(|put| put.key == event.kv.key && put.value == event.kv.value)
        }
    }
}

impl Model for StoreModel<'_> {
    type State = Store;
    type Op = Op;
    type Response = Response;

    fn initial(&self) -> Store {
        self.initial.clone()
    }

    fn step(&self, state: &Store, op: &Op, response: Option<&Response>) -> Result<Store, String> {
        let Some(response) = response else { return self.unanswered(state, op) };
        let current = state.revision();
        if response.revision != current && response.revision != current.next() {
            return Err(format!("header {} with the store at {current}", response.revision));
        }
        let applied = state.apply(op);
        if applied.response == *response {
            return Ok(applied.store);
        }
        Err(format!("answered {response:?} where {:?} is due", applied.response))
    }
}
