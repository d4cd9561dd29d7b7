//! What health checks ask of a node.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// A check under way; its error is the text a user reads.
pub type ProbeFuture = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// The questions, as closures: a test answers them without a node.
#[derive(Clone)]
pub struct HealthProbe {
    /// A read that goes through the quorum.
    pub linearizable_read: Arc<dyn Fn() -> ProbeFuture + Send + Sync>,
    /// A read of what this member has.
    pub serializable_read: Arc<dyn Fn() -> ProbeFuture + Send + Sync>,
    /// Names of the raised alarms, `NOSPACE` or `CORRUPT`.
    pub alarms: Arc<dyn Fn() -> Vec<&'static str> + Send + Sync>,
    /// Whether a leader is known.
    pub has_leader: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Whether this member is a learner.
    pub is_learner: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl std::fmt::Debug for HealthProbe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HealthProbe").finish_non_exhaustive()
    }
}
