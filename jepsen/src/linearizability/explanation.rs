//! Where a search got stuck.

use std::fmt;

/// How many dead ends an explanation shows.
const MAX_STATES: usize = 4;

/// The furthest a search came: the call that has no place, and for each state the search was in
/// there, why every call open at that moment could not come next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// Calls with a return that were placed.
    pub placed: usize,
    /// Calls with a return in all.
    pub required: usize,
    /// The call that has no place: next by its own revision, or the first to return.
    pub blocked: u64,
    /// That call with its answer.
    pub blocked_call: String,
    /// The last calls placed before.
    pub before: Vec<u64>,
    /// The states reached there, each with the calls that might have come next.
    pub states: Vec<(String, Vec<Candidate>)>,
}

/// A call that might have come next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The call.
    pub id: u64,
    /// What was asked.
    pub op: String,
    /// Why it cannot come next.
    pub refusal: String,
}

impl Stuck {
    /// True while another dead end would be shown.
    pub(super) fn has_room(&self) -> bool {
        self.states.len() < MAX_STATES
    }

    pub(super) fn add_state(&mut self, state: String, candidates: Vec<Candidate>) {
        if self.has_room() && self.states.iter().all(|(known, _)| *known != state) {
            self.states.push((state, candidates));
        }
    }
}

impl fmt::Display for Stuck {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "placed {} of {} calls; operation {} has no place:\n  {}",
            self.placed, self.required, self.blocked, self.blocked_call
        )?;
        writeln!(out, "  placed last: {:?}", self.before)?;
        for (state, candidates) in &self.states {
            writeln!(out, "  in state {state}")?;
            for candidate in candidates {
                writeln!(out, "    {} {}: {}", candidate.id, candidate.op, candidate.refusal)?;
            }
        }
        Ok(())
    }
}
