//! What every service has at hand.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prost::Message;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use vetch_proto::etcdserverpb::ResponseHeader;
use vetch_proto::vetchpb::Proposal;
use vetch_proto::vetchpb::proposal::Command;
use vetch_raft::{MemberRules, Platform, ProposeError, Replica};
use vetch_storage::error::ReadError;
use vetch_storage::{Applied, Fatal, ReadView, Response, Revision};

use super::envelope::Envelope;
use super::header::Identity;
use super::quota::Quota;
use super::range_body::AnswerBudget;
use super::slow;
use super::space::Space;
use super::status::Refusal;
use super::stream_end::LeaderLoss;
use crate::compactor::CompactionState;
use crate::config::Warnings;
use crate::lease::Leases;
use crate::metrics::{Metrics, Operation};
use crate::watch::WatchHub;

/// Bounds on what a client may ask, from the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest proposal, in bytes as etcd counts them (`--max-request-bytes`).
    pub max_request_bytes: usize,
    /// Longest list of a transaction (`--max-txn-ops`).
    pub max_txn_ops: usize,
    /// Changes of the cluster (`--strict-reconfig-check`, `--max-learners`).
    pub members: MemberRules,
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
    /// What the disk still takes.
    pub space: Space,
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
    /// From when on slowness is logged.
    pub warnings: Warnings,
    /// Where a read that found damage reports it; the node stops.
    pub fatal: mpsc::UnboundedSender<Fatal>,
    envelope: Envelope,
    /// Cancelled when the node stops: ends the streams that have no end of their own.
    pub stopping: CancellationToken,
    /// Ends the streams whose clients want a leader, when there is none.
    pub leader_loss: LeaderLoss,
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
        warnings: Warnings,
        fatal: mpsc::UnboundedSender<Fatal>,
        stopping: CancellationToken,
    ) -> Self {
        let next_request_id = AtomicU64::new(1);
        Self {
            replica,
            identity,
            limits,
            quota,
            space: Space::default(),
            budget,
            leases,
            watch,
            compaction,
            spool_dir,
            metrics,
            warnings,
            fatal,
            envelope: Envelope::at(identity.member_id),
            stopping,
            leader_loss: LeaderLoss::default(),
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

    /// Proposes a command and waits for what it did. `encoded_len` is the command's own length; in
    /// etcd's [`Envelope`] it must stay within `--max-request-bytes`.
    pub async fn propose(
        &self,
        command: Command,
        encoded_len: usize,
    ) -> Result<(Response, Revision), Refusal> {
        if self.envelope.around(encoded_len) > self.limits.max_request_bytes {
            return Err(Refusal::RequestTooLarge);
        }
        let (operation, began) = (Operation::of(&command), Instant::now());
        let outcome = self.replica.propose(self.proposal(command)).await;
        match &outcome {
            // Refused at the door, it was no proposal yet; etcd counts it nowhere either.
            Err(ProposeError::TooManyRequests) => {}
            Ok(_) => self.metrics.requests.proposed(operation, true, began.elapsed()),
            Err(
                ProposeError::NoLeader
                | ProposeError::TimedOut
                | ProposeError::TimedOutLeaderChanged
                | ProposeError::Stopped,
            ) => {
                self.metrics.server.proposals_failed.inc();
                self.metrics.requests.proposed(operation, false, began.elapsed());
            }
        }
        answer(&outcome?)
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
            let began = Instant::now();
            let view = self.replica.linearizable_view().await;
            if began.elapsed() > SLOW_READ_INDEX {
                self.metrics.server.slow_read_indexes.inc();
            }
            view.map_err(|error| {
                self.metrics.server.read_indexes_failed.inc();
                error.into()
            })
        }
    }

    /// Measures a range that came in at `began`, and logs it when it was slow.
    pub fn measure_range(&self, began: Instant, success: bool, request: impl FnOnce() -> String) {
        let took = began.elapsed();
        self.metrics.requests.range.observe(success, took);
        self.warn_if_slow("read-only range ", took, request);
    }

    /// As [`measure_range`](Self::measure_range), for a transaction that only reads.
    pub fn measure_read_txn(
        &self,
        began: Instant,
        success: bool,
        request: impl FnOnce() -> String,
    ) {
        let took = began.elapsed();
        self.metrics.requests.read_only_txn.observe(success, took);
        self.warn_if_slow("read-only txn ", took, request);
    }

    fn warn_if_slow(&self, prefix: &str, took: Duration, request: impl FnOnce() -> String) {
        let expected = self.warnings.apply;
        if took > expected {
            slow::warn_apply(&self.metrics, prefix, took, expected, &request(), None);
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

/// etcd asks anew for a read index that has not come after this time, and counts it as slow.
const SLOW_READ_INDEX: Duration = Duration::from_millis(500);

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
