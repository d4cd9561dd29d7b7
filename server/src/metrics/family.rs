//! Metrics of one name with different labels, in a fixed order.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// A label and its value.
pub(super) type Label = (&'static str, String);

/// Metrics by labels; clones share them. A handle from [`Family::with`] is kept by its user, so that
/// the lock is taken once and not per event. Unlike the library's, its output has an order.
#[derive(Clone, Debug)]
pub(super) struct Family<M> {
    members: Arc<Mutex<BTreeMap<Vec<Label>, M>>>,
    make: fn() -> M,
}

impl<M: Clone> Family<M> {
    pub(super) fn new(make: fn() -> M) -> Self {
        Self { members: Arc::default(), make }
    }

    /// The metric with these labels, from now on part of every scrape.
    pub(super) fn with(&self, labels: &[(&'static str, &str)]) -> M {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.members.lock().entry(labels).or_insert_with(self.make).clone()
    }

    /// Forgets all members.
    pub(super) fn clear(&self) {
        self.members.lock().clear();
    }
}

impl<M: EncodeMetric + TypedMetric + Clone> EncodeMetric for Family<M> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        for (labels, metric) in self.members.lock().iter() {
            metric.encode(encoder.encode_family(labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        M::TYPE
    }

    fn is_empty(&self) -> bool {
        self.members.lock().is_empty()
    }
}
