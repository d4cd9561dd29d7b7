//! What follows a change by itself: new voters come to vote, removed ones come to know.

use std::sync::Arc;

use futures::future::join3;
use openraft_rt::{AsyncRuntime, Instant, WatchReceiver};
use vetch_proto::vetchpb::MembersRequest;
use vetch_proto::vetchpb::peer_request::Request;
use vetch_storage::{LogIndex, NodeId};

use crate::platform::{InstantOf, Platform};
use crate::replica::Inner;
use crate::types::Membership;

/// Runs until the replica has ended. `has_begun` says that the manifest knows of the log's first entry.
pub(in crate::replica) async fn tend<P: Platform>(inner: Arc<Inner<P>>, has_begun: bool) {
    let noting = inner.note_begin(has_begun);
    let tended = join3(inner.let_voters_vote(), inner.watch_own_standing(), noting);
    let _ended = P::Runtime::select2(inner.stop.ended(), Box::pin(tended)).await;
}

impl<P: Platform> Inner<P> {
    async fn note_begin(&self, has_begun: bool) {
        if !has_begun
            && self.progress.wait(LogIndex(1)).await.is_ok()
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
    async fn watch_own_standing(&self) {
        loop {
            P::Runtime::sleep(self.settings.election_timeout).await;
            if self.stop.has_begun() || self.leader_with_quorum().is_some() {
                continue;
            }
            let view = self.views.latest();
            let others = view.members().iter().map(|member| NodeId(member.id));
            for other in others.filter(|id| *id != self.identity.member) {
                let question = Request::Members(MembersRequest {});
                drop(self.peers.ask(other, question, self.settings.election_timeout).await);
            }
        }
    }
}
