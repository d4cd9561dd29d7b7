//! A lease's time, asked of the leader by a member that does not keep it.

use std::fmt;
use std::sync::Weak;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use prost::Message;
use vetch_proto::vetchpb::lease_answer::Outcome;
use vetch_proto::vetchpb::lease_question::Subject;
use vetch_proto::vetchpb::{LeaseAnswer, LeaseQuestion};
use vetch_raft::AsyncRuntime;
use vetch_raft::replica::{Answers, NoAnswer};
use vetch_storage::{LeaseId, LogIndex};

use super::clock::{LeaseClock, Time};
use super::group::Group;
use crate::rpc::Refusal;

/// What this member's lease clock answers others. The group holds it, and the clock the group: it must
/// not hold the clock.
pub(super) struct ForOthers<G: Group>(pub(super) Weak<LeaseClock<G>>);

impl<G: Group> fmt::Debug for ForOthers<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ForOthers").field(&self.0).finish()
    }
}

impl<G: Group> Answers for ForOthers<G> {
    fn answer(&self, question: Bytes, within: Duration) -> BoxFuture<'static, Option<Bytes>> {
        let clock = self.0.upgrade();
        async move {
            let clock = clock?;
            let answer =
                <G::Runtime as AsyncRuntime>::timeout(within, clock.answer(question)).await;
            answer.ok().flatten().map(|answer| answer.encode_to_vec().into())
        }
        .boxed()
    }
}

impl<G: Group> LeaseClock<G> {
    /// What this member knows of a lease; `None` when it does not keep the deadlines, or may not any
    /// more: who asks tries again.
    async fn answer(&self, question: Bytes) -> Option<LeaseAnswer> {
        let group = self.group()?;
        let found = match LeaseQuestion::decode(question).ok()?.subject? {
            Subject::Renew(id) => self.renew_here(group, LeaseId(id)).await,
            Subject::Remaining(id) => self.remaining_here(group, LeaseId(id)).await,
        };
        let outcome = match found {
            Ok(Some(Time::Seconds(seconds))) => Outcome::Seconds(seconds),
            Ok(Some(Time::Gone)) => Outcome::Gone(true),
            Err(Refusal::AppliedTooLate) => Outcome::AppliedTooLate(true),
            Ok(None) | Err(_) => return None,
        };
        Some(LeaseAnswer { outcome: Some(outcome), applied: group.leases().0.get() })
    }

    /// Asks the leader; `None` when none has answered.
    pub(super) async fn ask(&self, group: &G, subject: Subject) -> Result<Option<Time>, Refusal> {
        // What a renewal brought is seen by the next; the remaining time stands beside the keys
        // that this member has.
        let must_see = matches!(subject, Subject::Remaining(_));
        let question = LeaseQuestion { subject: Some(subject) }.encode_to_vec();
        let asked = group.ask_leader(question.into(), self.settings().request_timeout);
        let answer = match asked.await {
            Ok(answer) => answer,
            Err(NoAnswer::Stopped) => return Err(Refusal::Stopped),
            // Who waits does so for that long, and no longer.
            Err(NoAnswer::NoLeader | NoAnswer::TimedOut) => return Ok(None),
        };
        let Ok(LeaseAnswer { outcome: Some(outcome), applied }) = LeaseAnswer::decode(answer)
        else {
            return Ok(None);
        };
        if must_see {
            self.until_applied(group, LogIndex(applied)).await?;
        }
        match outcome {
            Outcome::Seconds(seconds) => Ok(Some(Time::Seconds(seconds))),
            Outcome::Gone(_) => Ok(Some(Time::Gone)),
            Outcome::AppliedTooLate(_) => Err(Refusal::AppliedTooLate),
        }
    }
}
