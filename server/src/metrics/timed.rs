//! Durations by outcome.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram;

use super::family::Family;
use super::groups::seconds;

/// Two histograms that differ in the label `success`. Each is resolved at its first observation, so
/// that a scrape shows what has happened only, and every later one is free of locks.
#[derive(Clone, Debug)]
pub struct ByOutcome {
    family: Family<Histogram>,
    labels: Vec<(&'static str, &'static str)>,
    handles: Arc<[OnceLock<Histogram>; 2]>,
}

impl ByOutcome {
    /// The members of `family` with these labels.
    pub(super) fn new(
        family: &Family<Histogram>,
        labels: impl Into<Vec<(&'static str, &'static str)>>,
    ) -> Self {
        Self { family: family.clone(), labels: labels.into(), handles: Arc::default() }
    }

    /// One that ended so, after this time.
    pub fn observe(&self, success: bool, took: Duration) {
        let [failures, successes] = &*self.handles;
        let handle = if success { successes } else { failures };
        handle.get_or_init(|| self.resolve(success)).observe(seconds(took));
    }

    fn resolve(&self, success: bool) -> Histogram {
        let success = if success { "true" } else { "false" };
        let mut labels = self.labels.clone();
        labels.push(("success", success));
        self.family.with(&labels)
    }
}
