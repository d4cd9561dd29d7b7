//! What every service has at hand.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;
use tokio::sync::mpsc;
use vetch_proto::etcdserverpb::ResponseHeader;
use vetch_proto::vetchpb::Proposal;
use vetch_proto::vetchpb::proposal::Command;
use vetch_raft::{Platform, Replica};
use vetch_storage::error::ReadError;
use vetch_storage::{Applied, Fatal, ReadView, Response, Revision};

use super::header::Identity;
use super::quota::Quota;
use super::range_body::AnswerBudget;
use super::status::Refusal;
use crate::compactor::CompactionState;
use crate::lease::Leases;
use crate::metrics::Metrics;
use crate::watch::WatchHub;

/// Bounds on what a client may ask, from the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest proposal, in bytes as etcd counts them (`--max-request-bytes`).
    pub max_request_bytes: usize,
    /// Longest list of a transaction (`--max-txn-ops`).
    pub max_txn_ops: usize,
}

impl Limits {
    /// Longest request message: a proposal and its envelope.
    pub const fn max_message_bytes(&self) -> usize {
        self.max_request_bytes + 512 * 1024
    }
}

/// The services' shared state. Everything in it belongs to one node.
#[derive(Debug)]
pub struct Api<P: Platform> {
    /// Consensus and state.
    pub replica: Replica<P>,
    /// Who answers.
    pub identity: Identity,
    /// Bounds on requests.
    pub limits: Limits,
    /// Bound on the store.
    pub quota: Quota,
    /// Memory that large answers share.
    pub budget: AnswerBudget,
    /// Deadlines of leases.
    pub leases: Arc<Leases<P>>,
    /// Watch streams.
    pub watch: Arc<WatchHub<P>>,
    /// Physical deletion of compacted versions.
    pub compaction: Arc<CompactionState>,
    /// Where snapshots are spooled.
    pub spool_dir: PathBuf,
    /// What is measured.
    pub metrics: Arc<Metrics>,
    /// Where a read that found damage reports it; the node stops.
    pub fatal: mpsc::UnboundedSender<Fatal>,
    next_request_id: AtomicU64,
}

impl<P: Platform> Api<P> {
    /// Assembles the services' state.
    #[expect(clippy::too_many_arguments, reason = "a composition root's one call")]
    pub fn new(
        replica: Replica<P>,
        identity: Identity,
        limits: Limits,
        quota: Quota,
        budget: AnswerBudget,
        leases: Arc<Leases<P>>,
        watch: Arc<WatchHub<P>>,
        compaction: Arc<CompactionState>,
        spool_dir: PathBuf,
        metrics: Arc<Metrics>,
        fatal: mpsc::UnboundedSender<Fatal>,
    ) -> Self {
        let next_request_id = AtomicU64::new(1);
        Self {
            replica,
            identity,
            limits,
            quota,
            budget,
            leases,
            watch,
            compaction,
            spool_dir,
            metrics,
            fatal,
            next_request_id,
        }
    }

    /// A full header with the term as of now.
    pub fn header(&self, revision: Revision) -> ResponseHeader {
        self.identity.header(revision, self.replica.status().term)
    }

    /// The header of an answer that has no revision (Cluster).
    pub fn header_without_revision(&self) -> ResponseHeader {
        self.header(Revision(0))
    }

    /// Proposes a command and waits for what it did. `encoded_len` is the command's own length; with
    /// etcd's envelope it must stay within `--max-request-bytes`.
    pub async fn propose(
        &self,
        command: Command,
        encoded_len: usize,
    ) -> Result<(Response, Revision), Refusal> {
        if encoded_len + ENVELOPE_BYTES > self.limits.max_request_bytes {
            return Err(Refusal::RequestTooLarge);
        }
        let applied = self.replica.propose(self.proposal(command)).await?;
        answer(&applied)
    }

    /// A proposal of this member's.
    pub fn proposal(&self, command: Command) -> Proposal {
        let wall_time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Proposal {
            request_id: self.next_request_id.fetch_add(1, Ordering::Relaxed),
            wall_time_ms: i64::try_from(wall_time.as_millis()).unwrap_or(i64::MAX),
            user: String::new(),
            auth_revision: 0,
            command: Some(command),
        }
    }

    /// A view to answer a read from: containing all that was acknowledged before, or just local.
    pub async fn read_view(&self, serializable: bool) -> Result<ReadView<P::Engine>, Refusal> {
        if serializable {
            Ok(self.replica.view())
        } else {
            Ok(self.replica.linearizable_view().await?)
        }
    }

    /// Turns a failed read into an answer. Damage is no answer: the node stops.
    pub fn read_failed(&self, error: ReadError) -> Refusal {
        match error {
            ReadError::Refused(error) => error.into(),
            ReadError::Fatal(fatal) => self.stop(fatal),
        }
    }

    /// Reports that the node must stop; what the client is told meanwhile.
    pub fn stop(&self, fatal: Fatal) -> Refusal {
        // The receiver is gone only when the node is stopping already.
        drop(self.fatal.send(fatal));
        Refusal::Stopped
    }
}

/// What etcd's envelope (header with request id, field tags, lengths) adds to a request, at most.
/// etcd counts its own envelope exactly; a request within these bytes of the limit may be refused
/// here though etcd takes it, never the reverse.
const ENVELOPE_BYTES: usize = 32;

fn answer(applied: &Arc<Applied>) -> Result<(Response, Revision), Refusal> {
    match &applied.response {
        Ok(response) => Ok((response.clone(), applied.revision)),
        Err(error) => Err(error.clone().into()),
    }
}

/// The encoded length of a request, for [`Api::propose`].
pub fn encoded_len(message: &impl Message) -> usize {
    message.encoded_len()
}
