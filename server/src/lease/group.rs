//! What leases need of the group; the replica gives it, and in tests a group that fails on demand.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use vetch_proto::vetchpb::Proposal;
use vetch_proto::vetchpb::proposal::Command;
use vetch_raft::replica::NoAnswer;
use vetch_raft::{
    AsyncRuntime, LeaderChange, LeaderChanges, Platform, ProposeError, ReadIndexError, Replica,
};
use vetch_storage::lease::LeaseTable;
use vetch_storage::{Applied, LogIndex, Planted, Term};

/// The group as the lease clock sees it.
pub(crate) trait Group: Send + Sync + 'static {
    /// Tasks and timers.
    type Runtime: AsyncRuntime;
    /// A place in the news of leadership.
    type News: Send + 'static;

    /// Proposes if this member still leads in `term`; waits for what it did.
    fn propose_in_term(
        &self,
        command: Command,
        term: Term,
    ) -> impl Future<Output = Result<Arc<Applied>, ProposeError>> + Send;

    /// Confirms that this member leads; everything acknowledged before is at or below the answer.
    fn read_index(&self) -> impl Future<Output = Result<LogIndex, ReadIndexError>> + Send;

    /// Asks the lease clock of the leader; while this member leads, of the next one.
    fn ask_leader(
        &self,
        question: Bytes,
        within: Duration,
    ) -> impl Future<Output = Result<Bytes, NoAnswer>> + Send;

    /// Waits until `index` is applied and its lease changes are known.
    fn wait_applied(
        &self,
        index: LogIndex,
    ) -> impl Future<Output = Result<(), ReadIndexError>> + Send;

    /// This member's current term.
    fn term(&self) -> Term;

    /// The replicated table, and the position it is as of.
    fn leases(&self) -> (LogIndex, LeaseTable);

    /// Begins to follow leadership.
    fn news(&self) -> Self::News;

    /// What holds now, the first time; then each change. `None` when the replica is gone.
    fn next_news(news: &mut Self::News) -> impl Future<Output = Option<LeaderChange>> + Send;
}

impl<P: Platform> Group for Replica<P> {
    type Runtime = P::Runtime;
    type News = LeaderChanges;

    async fn propose_in_term(
        &self,
        command: Command,
        term: Term,
    ) -> Result<Arc<Applied>, ProposeError> {
        let expires = matches!(command, Command::LeaseExpire(_));
        // Nobody waits for the answer by id, and no client's identity is behind it.
        let proposal = Proposal { command: Some(command), ..Default::default() };
        if expires && Planted::RevokeWithoutTermFence.is_on() {
            return self.propose(proposal).await;
        }
        Self::propose_in_term(self, proposal, term).await
    }

    async fn read_index(&self) -> Result<LogIndex, ReadIndexError> {
        Self::read_index(self).await
    }

    async fn ask_leader(&self, question: Bytes, within: Duration) -> Result<Bytes, NoAnswer> {
        Self::ask_leader(self, question, within).await
    }

    async fn wait_applied(&self, index: LogIndex) -> Result<(), ReadIndexError> {
        Self::wait_applied(self, index).await
    }

    fn term(&self) -> Term {
        self.status().term
    }

    fn leases(&self) -> (LogIndex, LeaseTable) {
        let view = self.view();
        (view.applied().index, view.leases().clone())
    }

    fn news(&self) -> Self::News {
        self.leader_changes()
    }

    async fn next_news(news: &mut Self::News) -> Option<LeaderChange> {
        news.changed().await
    }
}
