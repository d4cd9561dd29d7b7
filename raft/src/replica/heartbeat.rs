//! The leader's heartbeat, and the end of its leadership when no quorum answers.
//!
//! openraft has one setting for the pace of heartbeats and for how long it waits for the answer to one.
//! Round trips may take longer than the interval between two: what is set is the wait, and the pace is
//! kept here.
//!
//! A leader that no quorum has answered for an election timeout leads no more, as with etcd's
//! `CheckQuorum`. openraft itself would only refuse new entries, and beat on: as long as that is heard nobody
//! else comes to lead, and a leader that is deaf to all answers would stand in everybody's way.

use std::sync::Arc;
use std::time::Duration;

use openraft::ServerState;
use openraft::vote::RaftLeaderId;
use openraft_rt::{AsyncRuntime, Instant, WatchReceiver};
use vetch_storage::{Planted, Term};

use super::Inner;
use crate::platform::{InstantOf, Platform};
use crate::types::rpc::VoteRequest;
use crate::types::{LeaderId, Vote};

/// No member has this id.
const NOBODY: u64 = 0;

/// How long a leader has waited for a quorum.
struct Wait<I> {
    /// The term it leads in, and since when it could have been answered.
    leads: Option<(Term, I)>,
    looked: I,
}

impl<I: Instant> Wait<I> {
    fn new(now: I) -> Self {
        Self { leads: None, looked: now }
    }

    /// How long no quorum has answered, when one did so at `acked` for the last time. A process that did
    /// not run for longer than `nap` could not be answered meanwhile: it begins to wait anew.
    fn look(&mut self, term: Option<Term>, acked: Option<I>, now: I, nap: Duration) -> Duration {
        let slept = now - self.looked > nap;
        self.looked = now;
        let before = self.leads.filter(|(led_in, _)| Some(*led_in) == term && !slept);
        self.leads = before.or(term.map(|term| (term, now)));
        let since = self.leads.map(|(_, since)| acked.map_or(since, |acked| acked.max(since)));
        since.map_or(Duration::ZERO, |since| now - since)
    }
}

/// Beats while this member leads, until the replica ends.
pub(super) async fn beat<P: Platform>(inner: Arc<Inner<P>>) {
    let _ended = P::Runtime::select2(inner.stop.ended(), Box::pin(inner.keep_beating())).await;
}

impl<P: Platform> Inner<P> {
    async fn keep_beating(&self) {
        let interval = self.settings.heartbeat_interval;
        let patience = self.settings.election_timeout;
        let mut next = InstantOf::<P>::now() + interval;
        let mut wait = Wait::new(InstantOf::<P>::now());
        loop {
            P::Runtime::sleep_until(next).await;
            let now = InstantOf::<P>::now();
            next = (next + interval).max(now);
            let (term, acked) = self.leads_with_others();
            let waited = wait.look(term, acked, now, patience / 2);
            let Some(term) = term else { continue };
            if waited >= patience && !Planted::LeadsWithoutQuorum.is_on() {
                self.step_down(term).await;
            } else {
                // Who cannot be asked stops.
                drop(self.raft.trigger().heartbeat().await);
            }
        }
    }

    /// The term this member leads others in, if it does; and when a quorum has last answered what was
    /// sent at that time.
    fn leads_with_others(&self) -> (Option<Term>, Option<InstantOf<P>>) {
        let metrics = self.metrics.borrow_watched();
        let leads = metrics.state == ServerState::Leader
            && metrics.membership_config.membership().nodes().count() > 1;
        let acked = if self.is_only_voter_in(&metrics) {
            Some(InstantOf::<P>::now())
        } else {
            metrics.last_quorum_acked.map(|acked| *acked)
        };
        (leads.then_some(Term(metrics.current_term)), acked)
    }

    /// Gives this member's vote of the next term to nobody. openraft takes a higher vote for the end of its
    /// own leadership, unless a quorum has answered after all.
    async fn step_down(&self, term: Term) {
        let last = self.raft.with_raft_state(|state| state.log_ids.last().copied());
        let Ok(last) = last.await else { return };
        let vote = Vote { leader_id: LeaderId::new(term.0 + 1, NOBODY), committed: false };
        match self.raft.vote(VoteRequest::new(vote, last)).await {
            Ok(answer) if answer.vote_granted => tracing::warn!(
                %term, "this member leads no more: no quorum has answered it for an election timeout"
            ),
            Ok(_) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use openraft_rt_tokio::TokioRuntime;

    use super::*;

    type I = <TokioRuntime as AsyncRuntime>::Instant;

    const NAP: Duration = Duration::from_millis(500);

    fn after(start: I, millis: u64) -> I {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn a_leader_waits_since_the_last_answer_or_since_it_leads() {
        let start = I::now();
        let mut wait = Wait::new(start);
        let mut waited = |term: Option<u64>, acked: Option<u64>, at: u64| {
            let acked = acked.map(|acked| after(start, acked));
            wait.look(term.map(Term), acked, after(start, at), NAP).as_millis()
        };
        assert_eq!(waited(None, None, 100), 0, "it does not lead");
        assert_eq!(waited(Some(3), None, 200), 0);
        assert_eq!(waited(Some(3), None, 500), 300, "nobody has answered yet");
        assert_eq!(waited(Some(3), Some(450), 600), 150);
        assert_eq!(waited(Some(3), Some(450), 1_000), 550);
        assert_eq!(waited(Some(4), Some(450), 1_100), 0, "another term");
        assert_eq!(waited(None, None, 1_200), 0);
        assert_eq!(waited(Some(4), Some(450), 1_300), 0, "it leads again");
    }

    #[test]
    fn a_process_that_did_not_run_waits_anew() {
        let start = I::now();
        let mut wait = Wait::new(start);
        let mut waited =
            |at: u64| wait.look(Some(Term(3)), Some(start), after(start, at), NAP).as_millis();
        assert_eq!((waited(100), waited(500), waited(900)), (0, 400, 800));
        assert_eq!(waited(3_000), 0, "it did not run");
        assert_eq!(waited(3_400), 400);
    }
}
