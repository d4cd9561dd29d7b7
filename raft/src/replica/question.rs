//! Questions that only the leader's services can answer; what they are is not this crate's business.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use openraft_rt::{AsyncRuntime, Instant, Select2};
use parking_lot::Mutex;
use vetch_proto::vetchpb::peer_reply::Reply;
use vetch_proto::vetchpb::peer_request::Request;
use vetch_proto::vetchpb::refusal::Reason;
use vetch_proto::vetchpb::{Answer, Question, Refusal};
use vetch_storage::NodeId;

use super::Inner;
use crate::platform::{InstantOf, Platform};
use crate::transport::wire::refuse;

/// Answers what other members ask this one while they take it for the leader.
pub trait Answers: Send + Sync + 'static {
    /// The answer, found within this time; `None` when this member is not, or no longer, the one to
    /// give it.
    fn answer(&self, question: Bytes, within: Duration) -> BoxFuture<'static, Option<Bytes>>;
}

/// Who answers, from the start of the services to the shutdown.
#[derive(Default)]
pub(super) struct Answering(Mutex<Option<Arc<dyn Answers>>>);

impl fmt::Debug for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answering").field("begun", &self.0.lock().is_some()).finish()
    }
}

impl Answering {
    pub(super) fn begin(&self, answers: Arc<dyn Answers>) {
        let before = self.0.lock().replace(answers);
        drop(before);
    }

    /// Lets go of who answers, who may hold the replica.
    pub(super) fn end(&self) {
        let answers = self.0.lock().take();
        drop(answers);
    }
}

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// The node is stopping.
    #[error("stopped")]
    Stopped,
    /// At the end of the time no other member was known to lead.
    #[error("no leader")]
    NoLeader,
    /// Whoever led gave none in time.
    #[error("timed out")]
    TimedOut,
}

impl<P: Platform> Inner<P> {
    /// See [`Replica::ask_leader`](super::Replica::ask_leader).
    pub(super) async fn ask_leader(
        &self,
        question: Bytes,
        within: Duration,
    ) -> Result<Bytes, NoAnswer> {
        let deadline = InstantOf::<P>::now() + within;
        let asked =
            P::Runtime::timeout_at(deadline, Box::pin(self.ask_leaders(question, deadline)));
        match P::Runtime::select2(Box::pin(self.stop.begun()), asked).await {
            Select2::First(()) => Err(NoAnswer::Stopped),
            Select2::Second(Ok(answer)) => Ok(answer),
            Select2::Second(Err(_)) if self.other_leader().is_none() => Err(NoAnswer::NoLeader),
            Select2::Second(Err(_)) => Err(NoAnswer::TimedOut),
        }
    }

    fn other_leader(&self) -> Option<NodeId> {
        self.leadership.leader().filter(|leader| *leader != self.identity.member)
    }

    /// Asks one leader after the other, until one answers.
    async fn ask_leaders(&self, question: Bytes, deadline: InstantOf<P>) -> Bytes {
        loop {
            let leader = self.leadership.leader();
            let another = self.leadership.until_other_than(leader);
            let Some(other) = leader.filter(|leader| *leader != self.identity.member) else {
                another.await;
                continue;
            };
            let left = deadline - InstantOf::<P>::now();
            let within_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            let question = Question { question: question.clone(), within_ms };
            let asked = self.peers.ask(other, Request::Ask(question), left);
            // A leader that is gone answers nothing: the next one is asked as soon as it leads.
            match P::Runtime::select2(asked, another).await {
                Select2::First(Ok(Reply::Answered(Answer { answer }))) => return answer,
                Select2::First(_) => self.await_leader(leader).await,
                Select2::Second(()) => {}
            }
        }
    }

    pub(super) async fn give_answer(&self, question: Question) -> Result<Reply, Refusal> {
        let answers = self.answering.0.lock().clone();
        let within = Duration::from_millis(question.within_ms).min(self.settings.request_timeout);
        let answer = match answers {
            Some(answers) => answers.answer(question.question, within).await,
            None => None,
        };
        let refusal = || refuse(Reason::NotLeader, "this member has no answer");
        answer.map(|answer| Reply::Answered(Answer { answer })).ok_or_else(refusal)
    }
}
