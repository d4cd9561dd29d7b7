//! What a checker reports.

use std::fmt;

/// A broken rule, with the evidence in words. `R` is the closed set of rules of one checker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation<R> {
    /// Which rule.
    pub rule: R,
    /// What was seen and what was due.
    pub evidence: String,
}

impl<R> Violation<R> {
    /// A violation of `rule`.
    pub fn new(rule: R, evidence: impl Into<String>) -> Self {
        Self { rule, evidence: evidence.into() }
    }
}

impl<R: fmt::Debug> fmt::Display for Violation<R> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}: {}", self.rule, self.evidence)
    }
}
