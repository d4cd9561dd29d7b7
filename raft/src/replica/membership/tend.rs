//! What follows a change by itself: new voters come to vote, removed ones come to know.

use std::sync::Arc;

use futures::future::join4;
use openraft_rt::{AsyncRuntime, Instant, WatchReceiver};
use vetch_proto::vetchpb::MembersRequest;
use vetch_proto::vetchpb::peer_request::Request;
use vetch_storage::{LogIndex, NodeId};

use crate::log::LogStore;
use crate::platform::{InstantOf, Platform};
use crate::replica::Inner;
use crate::types::Membership;

/// Runs until the replica has ended. `beginning` is a log of whose first entry the manifest does not
/// know yet.
pub(in crate::replica) async fn tend<P: Platform>(
    inner: Arc<Inner<P>>,
    beginning: Option<LogStore>,
) {
    let noting = inner.note_begin(beginning);
    let (votes, standing) = (inner.let_voters_vote(), inner.watch_own_standing());
    let tended = join4(votes, standing, noting, inner.watch_disk());
    let _ended = P::Runtime::select2(inner.stop.ended(), Box::pin(tended)).await;
}

impl<P: Platform> Inner<P> {
    /// From then on a log that is found empty has been lost. What others have on disk may be applied
    /// here before this member's own write ends: until that, the log may rightly be empty after a crash.
    async fn note_begin(&self, beginning: Option<LogStore>) {
        let Some(log) = beginning else { return };
        if self.progress.wait(LogIndex(1)).await.is_err() {
            return;
        }
        // After a state from a peer, until the log is told of it.
        while log.bounds().1 == 0 {
            P::Runtime::sleep(self.settings.heartbeat_interval).await;
        }
        // A log that has failed has said so itself.
        if log.flushed().await.is_ok()
            && let Err(fatal) = self.engines.log_has_begun().await
        {
            self.stop.raise(fatal);
        }
    }

    /// On the leader: makes those vote who are voters to clients and have caught up.
    async fn let_voters_vote(&self) {
        loop {
            P::Runtime::sleep(self.settings.heartbeat_interval).await;
            if self.leadership.leading().is_some() && self.has_voters_to_come() {
                self.let_one_vote().await;
            }
        }
    }

    fn has_voters_to_come(&self) -> bool {
        let view = self.views.latest();
        let metrics = self.metrics.borrow_watched();
        let mut learners = metrics.membership_config.membership().learner_ids();
        learners.any(|id| view.members().get(NodeId(id)).is_some_and(|member| !member.is_learner))
    }

    async fn let_one_vote(&self) {
        let _turn = self.changing.lock().await;
        let deadline = InstantOf::<P>::now() + self.settings.request_timeout;
        let Ok(basis) = self.basis(deadline).await else { return };
        let view = self.views.latest();
        let group = self.group(&basis, view.members(), self.lately());
        if let Some(id) = group.ready_voter() {
            let (voters, learners) = group.with_voter(id);
            tracing::info!(member = %format_args!("{id:x}"), "a new member has caught up and votes");
            let sets = Membership::new_with_defaults(vec![voters], learners);
            // What does not succeed now is tried again at the next turn.
            let _written = self.write_sets(&basis, sets, None, deadline).await;
        }
    }

    /// A member that hears from no leader asks its peers whether it still belongs to them: one that was
    /// removed while it was down or cut off is never spoken to again. The answer is looked at where
    /// all refusals are.
    ///
    /// Whom it has never met it asks in any case. Followers need not talk to each other for months; if
    /// one of them then came back without its disks while the leader was away, the other would take its
    /// word, and its vote.
    async fn watch_own_standing(&self) {
        loop {
            P::Runtime::sleep(self.settings.election_timeout).await;
            if self.stop.has_begun() {
                continue;
            }
            let is_led = self.leader_with_quorum().is_some();
            let view = self.views.latest();
            let others = view.members().iter().map(|member| NodeId(member.id));
            let others = others.filter(|id| *id != self.identity.member);
            for other in others.filter(|id| !is_led || !self.peers.roster.has_met(*id)) {
                let question = Request::Members(MembersRequest::default());
                drop(self.peers.ask(other, question, self.settings.election_timeout).await);
            }
        }
    }
}
