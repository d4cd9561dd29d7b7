//! The search for a linearization.
//!
//! Depth first: place any call that no unplaced return precedes, remember every configuration
//! (which calls are placed, in which state) and never expand one twice. Calls without a return
//! are tried last and need not be placed at all.

use super::entries::{Entries, Node, NodeId};
use super::explanation::{Candidate, Stuck};
use super::model::{Call, Model};
use super::ranks::Ranks;
use std::collections::HashSet;

/// How many configurations a search may remember before it gives up.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// The limit.
    pub configurations: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { configurations: 1_000_000 }
    }
}

/// What came of a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Search {
    /// A linearization exists; ids in its order.
    Found(Vec<u64>),
    /// None exists.
    Impossible(Box<Stuck>),
    /// The budget ran out first: neither proved nor refuted.
    Exhausted {
        /// Configurations visited.
        configurations: usize,
    },
}

/// Looks for an order of `calls` that `model` explains.
pub fn search<M: Model>(model: &M, calls: &[Call<'_, M>], budget: Budget) -> Search {
    Searcher::new(model, calls).run(budget)
}

/// The placed calls, compactly: all of the first `through` calls that must be placed, and a few
/// more by index (those that overlap the first unplaced one, and those without a return).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Placed {
    through: usize,
    beyond: Vec<u32>,
}

struct Searcher<'a, M: Model> {
    model: &'a M,
    calls: &'a [Call<'a, M>],
    /// Calls with a return, then calls without one. Positions in this list name calls below.
    sorted: Vec<usize>,
    required: usize,
    with_return: Entries,
    without_return: Entries,
    /// The unplaced calls of `with_return` by latest rank.
    by_rank: Ranks,
    state: M::State,
    placed: Placed,
    path: Vec<Frame<M::State>>,
    visited: HashSet<(Placed, M::State)>,
    deepest: usize,
    stuck: Option<Stuck>,
}

/// One placed call and what to restore when it is taken back.
struct Frame<S> {
    cursor: Cursor,
    call: usize,
    state: S,
    placed: Placed,
}

/// Where the search stands among the candidates for the next place.
#[derive(Clone, Copy)]
enum Cursor {
    Required(NodeId),
    Optional(NodeId),
}

impl<'a, M: Model> Searcher<'a, M> {
    fn new(model: &'a M, calls: &'a [Call<'a, M>]) -> Self {
        let mut sorted: Vec<usize> = (0..calls.len()).collect();
        sorted.sort_by_key(|&at| (calls[at].complete.is_none(), calls[at].invoke));
        let required = calls.iter().filter(|call| call.complete.is_some()).count();
        let times = |from: usize, to: usize| {
            let sorted = &sorted;
            Entries::new((from..to).map(move |position| {
                let call = &calls[sorted[position]];
                (position, call.invoke, call.complete)
            }))
        };
        Self {
            with_return: times(0, required),
            without_return: times(required, calls.len()),
            by_rank: Ranks::new(sorted[..required].iter().map(|&at| calls[at].rank)),
            state: model.initial(),
            placed: Placed::default(),
            path: Vec::new(),
            visited: HashSet::new(),
            deepest: 0,
            stuck: None,
            model,
            calls,
            sorted,
            required,
        }
    }

    fn run(mut self, budget: Budget) -> Search {
        let mut cursor = Cursor::Required(self.with_return.first());
        while self.with_return.get(self.with_return.first()) != Node::Sentinel {
            if self.visited.len() > budget.configurations {
                return Search::Exhausted { configurations: self.visited.len() };
            }
            if let Some((at, call)) = self.candidate(cursor) {
                cursor = if self.place(at, call) {
                    Cursor::Required(self.with_return.first())
                } else {
                    self.after(at)
                };
                continue;
            }
            self.remember_stuck();
            match self.take_back() {
                Some(at) => cursor = self.after(at),
                None => return Search::Impossible(Box::new(self.stuck.expect("was stuck"))),
            }
        }
        Search::Found(self.path.iter().map(|frame| self.call(frame.call).id).collect())
    }

    fn call(&self, position: usize) -> &'a Call<'a, M> {
        &self.calls[self.sorted[position]]
    }

    /// The next call that may be placed, at or after the cursor: first those with a return, up to
    /// the first return of an unplaced call, then those without, up to the same moment.
    fn candidate(&self, cursor: Cursor) -> Option<(Cursor, usize)> {
        let optional = match cursor {
            Cursor::Required(node) => match self.with_return.get(node) {
                Node::Invoke(call) => return Some((cursor, call)),
                Node::Return(_) | Node::Sentinel => self.without_return.first(),
            },
            Cursor::Optional(node) => node,
        };
        match self.without_return.get(optional) {
            Node::Invoke(call) if self.call(call).invoke < self.first_return() => {
                Some((Cursor::Optional(optional), call))
            }
            Node::Invoke(_) | Node::Return(_) | Node::Sentinel => None,
        }
    }

    /// When the first unplaced call returned: everything placed next was invoked before it.
    fn first_return(&self) -> u64 {
        let mut node = self.with_return.first();
        while let Node::Invoke(_) = self.with_return.get(node) {
            node = self.with_return.after(node);
        }
        self.with_return.order(node)
    }

    fn after(&self, cursor: Cursor) -> Cursor {
        match cursor {
            Cursor::Required(node) => Cursor::Required(self.with_return.after(node)),
            Cursor::Optional(node) => Cursor::Optional(self.without_return.after(node)),
        }
    }

    /// Places a call if the model allows it and the configuration is new.
    fn place(&mut self, cursor: Cursor, position: usize) -> bool {
        let Ok(state) = self.step(position) else { return false };
        let placed = self.placed.with(position, self.required);
        if !self.visited.insert((placed.clone(), state.clone())) {
            return false;
        }
        match cursor {
            Cursor::Required(node) => {
                self.with_return.lift(node);
                self.by_rank.remove(position);
            }
            Cursor::Optional(node) => self.without_return.lift(node),
        }
        let state = std::mem::replace(&mut self.state, state);
        let placed = std::mem::replace(&mut self.placed, placed);
        self.path.push(Frame { cursor, call: position, state, placed });
        true
    }

    /// What the model says, unless a call that surely comes earlier is not placed yet.
    fn step(&self, position: usize) -> Result<M::State, String> {
        let call = self.call(position);
        if let Some(rank) = call.rank
            && let Some(earlier) = self.by_rank.surely_before(rank)
        {
            return Err(format!("{} comes first, by its revision", self.call(earlier).id));
        }
        self.model.step(&self.state, call.op, call.response)
    }

    fn take_back(&mut self) -> Option<Cursor> {
        let frame = self.path.pop()?;
        match frame.cursor {
            Cursor::Required(node) => {
                self.with_return.unlift(node);
                self.by_rank.restore(frame.call);
            }
            Cursor::Optional(node) => self.without_return.unlift(node),
        }
        self.state = frame.state;
        self.placed = frame.placed;
        Some(frame.cursor)
    }

    /// Keeps the furthest dead ends for the explanation.
    fn remember_stuck(&mut self) {
        let depth = self.placed.required(self.required);
        if self.stuck.is_some() && depth < self.deepest {
            return;
        }
        if self.stuck.is_none() || depth > self.deepest {
            self.deepest = depth;
            self.stuck = Some(self.describe_stuck(depth));
        }
        if self.stuck.as_ref().is_some_and(Stuck::has_room) {
            let (state, candidates) = (format!("{:?}", self.state), self.candidates());
            self.stuck.as_mut().expect("set above").add_state(state, candidates);
        }
    }

    fn describe_stuck(&self, depth: usize) -> Stuck {
        let blocked = self.call(self.blocked());
        Stuck {
            placed: depth,
            required: self.required,
            blocked: blocked.id,
            blocked_call: format!("{:?} -> {:?}", blocked.op, blocked.response),
            before: self.path.iter().rev().take(8).rev().map(|f| self.call(f.call).id).collect(),
            states: Vec::new(),
        }
    }

    /// The call to blame: one that comes next by its own claim and that the model refuses, else the
    /// one that returned first.
    fn blocked(&self) -> usize {
        let refused = |&position: &usize| {
            let call = self.call(position);
            self.model.step(&self.state, call.op, call.response).is_err()
        };
        let deadline = self.first_return();
        let overdue = |&position: &usize| self.call(position).complete == Some(deadline);
        self.by_rank
            .first()
            .find(refused)
            .or_else(|| self.unplaced().find(overdue))
            .expect("the first return belongs to an unplaced call")
    }

    fn unplaced(&self) -> impl Iterator<Item = usize> {
        let mut node = self.with_return.first();
        std::iter::from_fn(move || match self.with_return.get(node) {
            Node::Invoke(call) => {
                node = self.with_return.after(node);
                Some(call)
            }
            Node::Return(_) | Node::Sentinel => None,
        })
    }

    fn candidates(&self) -> Vec<Candidate> {
        self.unplaced()
            .map(|position| {
                let call = self.call(position);
                let refusal =
                    self.step(position).err().unwrap_or_else(|| "fits, but leads nowhere".into());
                Candidate { id: call.id, op: format!("{:?}", call.op), refusal }
            })
            .collect()
    }
}

impl Placed {
    /// `self` and one more call; `required` calls come first in the numbering.
    fn with(&self, call: usize, required: usize) -> Self {
        let mut placed = self.clone();
        let number = u32::try_from(call).expect("fewer than 2^32 calls");
        let at = placed.beyond.partition_point(|&other| other < number);
        placed.beyond.insert(at, number);
        let contiguous = placed
            .beyond
            .iter()
            .enumerate()
            .take_while(|(offset, call)| {
                **call as usize == placed.through + offset && (**call as usize) < required
            })
            .count();
        placed.beyond.drain(..contiguous);
        placed.through += contiguous;
        placed
    }

    fn required(&self, required: usize) -> usize {
        self.through + self.beyond.iter().filter(|call| (**call as usize) < required).count()
    }
}
