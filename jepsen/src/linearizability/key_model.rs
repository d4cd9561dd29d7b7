//! One key of the store.
//!
//! Other keys' writes move the store's revision unseen, so revisions are only bounded: a write
//! without an answer took some revision above all seen before it, which the first read of it pins
//! down. Nothing here needs the persisted events, so this check stands on the clients' word alone.

use super::model::Model;
use crate::history::{
    Answer, Blob, Compare, Delete, Expected, KeyValue, LeaseId, Op, Put, Range, Relation, Response,
    Revision, Step, Txn,
};

/// The sequential behaviour of one key, absent at first.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyModel;

/// The key between two operations.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyState {
    /// The store's revision is at least this.
    floor: Revision,
    live: Option<Live>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Live {
    value: Blob,
    lease: LeaseId,
    created: Position,
    modified: Position,
    version: i64,
}

/// The revision of a write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Position {
    At(Revision),
    /// Exclusive bounds of the revision of a write whose answer was lost.
    Between(Revision, Option<Revision>),
}

impl Position {
    fn admits(&self, revision: Revision) -> bool {
        match self {
            Self::At(at) => *at == revision,
            Self::Between(after, before) => {
                *after < revision && before.is_none_or(|before| revision < before)
            }
        }
    }

    fn pin(&mut self, revision: Revision, field: &str) -> Result<(), String> {
        if !self.admits(revision) {
            return Err(format!("{field} {revision} where {self:?} is due"));
        }
        *self = Self::At(revision);
        Ok(())
    }
}

impl Model for KeyModel {
    type State = KeyState;
    type Op = Op;
    type Response = Response;

    fn initial(&self) -> KeyState {
        KeyState { floor: Revision::EMPTY_STORE, live: None }
    }

    fn step(
        &self,
        state: &KeyState,
        op: &Op,
        response: Option<&Response>,
    ) -> Result<KeyState, String> {
        if let Some(response) = response
            && response.revision < state.floor
        {
            return Err(format!("header {} below {}", response.revision, state.floor));
        }
        let write = match response {
            Some(response) => Position::At(response.revision),
            None => Position::Between(state.floor, None),
        };
        let mut run = Run { live: state.live.clone(), write, changed: false };
        run.execute(op, response.map(|response| &response.answer))?;
        let floor = match response {
            None if !run.changed => return Err("changes nothing".into()),
            None => state.floor.next(),
            Some(response) if run.changed && response.revision == state.floor => {
                return Err(format!("revision {} was already taken", response.revision));
            }
            Some(response) => response.revision,
        };
        Ok(KeyState { floor, live: run.live })
    }
}

/// One operation under way.
struct Run {
    live: Option<Live>,
    write: Position,
    changed: bool,
}

impl Run {
    fn execute(&mut self, op: &Op, answer: Option<&Answer>) -> Result<(), String> {
        match op {
            Op::Put(put) => self.put(put, answer),
            Op::Range(range) => self.range(range, answer),
            Op::Delete(delete) => self.delete(delete, answer),
            Op::Txn(txn) => self.txn(txn, answer),
            Op::LeaseRevoke { lease } => {
                if self.live.as_ref().is_some_and(|live| live.lease == *lease) {
                    self.live = None;
                    self.changed = true;
                }
                Ok(())
            }
        }
    }

    fn put(&mut self, put: &Put, answer: Option<&Answer>) -> Result<(), String> {
        match answer {
            Some(Answer::Put { prev }) if put.prev_kv => self.matches(prev.as_ref())?,
            None | Some(Answer::Put { prev: None }) => {}
            Some(other) => return Err(format!("a put answered {other:?}")),
        }
        let mut created =
            self.live.as_ref().map_or(self.write.clone(), |live| live.created.clone());
        if let (Position::Between(_, before @ None), Position::At(write)) =
            (&mut created, &self.write)
            && self.live.is_some()
        {
            *before = Some(*write);
        }
        self.live = Some(Live {
            value: put.value.clone(),
            lease: put.lease,
            created,
            modified: self.write.clone(),
            version: self.live.as_ref().map_or(1, |live| live.version + 1),
        });
        self.changed = true;
        Ok(())
    }

    fn range(&mut self, _: &Range, answer: Option<&Answer>) -> Result<(), String> {
        match answer {
            None => Ok(()),
            Some(Answer::Range { kvs, count }) => {
                if kvs.len() > 1 || usize::try_from(*count) != Ok(kvs.len()) {
                    return Err(format!("a read of one key answered {count} keys"));
                }
                self.matches(kvs.first())
            }
            Some(other) => Err(format!("a read answered {other:?}")),
        }
    }

    fn delete(&mut self, delete: &Delete, answer: Option<&Answer>) -> Result<(), String> {
        match answer {
            None => {}
            Some(Answer::Delete { deleted, prev }) => {
                if *deleted != i64::from(self.live.is_some()) {
                    return Err(format!("deleted {deleted} with {:?} live", self.live));
                }
                if delete.prev_kv {
                    self.matches(prev.first())?;
                }
            }
            Some(other) => return Err(format!("a delete answered {other:?}")),
        }
        self.changed |= self.live.take().is_some();
        Ok(())
    }

    fn txn(&mut self, txn: &Txn, answer: Option<&Answer>) -> Result<(), String> {
        let (succeeded, answers) = match answer {
            None => (txn.compares.iter().all(|compare| self.may_hold(compare)), None),
            Some(Answer::Txn { succeeded, answers }) => (*succeeded, Some(answers)),
            Some(other) => return Err(format!("a transaction answered {other:?}")),
        };
        if succeeded {
            for compare in &txn.compares {
                self.assume(compare)?;
            }
        } else if answer.is_some() && txn.compares.iter().all(|compare| self.must_hold(compare)) {
            return Err("did not succeed though its compares hold".into());
        }
        let steps = txn.branch(succeeded);
        if answers.is_some_and(|answers| answers.len() != steps.len()) {
            return Err("as many answers as steps are due".into());
        }
        for (index, step) in steps.iter().enumerate() {
            let answer = answers.map(|answers| &answers[index]);
            match step {
                Step::Put(put) => self.put(put, answer)?,
                Step::Range(range) => self.range(range, answer)?,
                Step::Delete(delete) => self.delete(delete, answer)?,
            }
        }
        Ok(())
    }

    /// The compare's outcome where the position it looks at is certain.
    fn evaluate(&self, compare: &Compare) -> Option<bool> {
        let live = self.live.as_ref();
        let at = |position: Option<&Position>, expected: &Revision| match position {
            None => Some(Revision(0).cmp(expected)),
            Some(Position::At(at)) => Some(at.cmp(expected)),
            Some(Position::Between(..)) => None,
        };
        let ordering = match &compare.expected {
            Expected::ModRevision(revision) => at(live.map(|live| &live.modified), revision)?,
            Expected::CreateRevision(revision) => at(live.map(|live| &live.created), revision)?,
            Expected::Version(version) => live.map_or(0, |live| live.version).cmp(version),
            Expected::Value(value) => match live {
                Some(live) => live.value.cmp(value),
                None => return Some(false),
            },
        };
        Some(match compare.relation {
            Relation::Equal => ordering.is_eq(),
            Relation::NotEqual => ordering.is_ne(),
            Relation::Less => ordering.is_lt(),
            Relation::Greater => ordering.is_gt(),
        })
    }

    /// False only where the compare surely fails. An equality with a position that is only bounded
    /// fails outside the bounds; one that a client read before is never inside them, because that
    /// read pinned the position down.
    fn may_hold(&self, compare: &Compare) -> bool {
        self.evaluate(compare).unwrap_or_else(|| match (&compare.expected, compare.relation) {
            (Expected::ModRevision(revision), Relation::Equal) => {
                self.live.as_ref().is_some_and(|live| live.modified.admits(*revision))
            }
            (Expected::CreateRevision(revision), Relation::Equal) => {
                self.live.as_ref().is_some_and(|live| live.created.admits(*revision))
            }
            _ => true,
        })
    }

    fn must_hold(&self, compare: &Compare) -> bool {
        self.evaluate(compare) == Some(true)
    }

    /// Takes a compare as true: refuses where it cannot be, and pins what it tells.
    fn assume(&mut self, compare: &Compare) -> Result<(), String> {
        if !self.may_hold(compare) {
            return Err(format!("succeeded though {compare:?} fails on {:?}", self.live));
        }
        if compare.relation != Relation::Equal {
            return Ok(());
        }
        match (&compare.expected, &mut self.live) {
            (Expected::ModRevision(revision), Some(live)) => {
                live.modified.pin(*revision, "mod revision")
            }
            (Expected::CreateRevision(revision), Some(live)) => {
                live.created.pin(*revision, "create revision")
            }
            _ => Ok(()),
        }
    }

    /// Holds what a client saw against what is live.
    fn matches(&mut self, seen: Option<&KeyValue>) -> Result<(), String> {
        let (live, seen) = match (&mut self.live, seen) {
            (None, None) => return Ok(()),
            (Some(live), Some(seen)) => (live, seen),
            (live, seen) => return Err(format!("saw {seen:?} with {live:?} live")),
        };
        if (&live.value, live.lease, live.version) != (&seen.value, seen.lease, seen.version) {
            return Err(format!("saw {seen:?} with {live:?} live"));
        }
        if live.version == 1 && seen.create_revision != seen.mod_revision {
            return Err(format!("version 1 with two revisions: {seen:?}"));
        }
        live.created.pin(seen.create_revision, "create revision")?;
        live.modified.pin(seen.mod_revision, "mod revision")
    }
}
