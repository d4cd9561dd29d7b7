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

impl<P: Platform> Inner<P> {
    /// See [`Replica::ask_leader`](super::Replica::ask_leader).
    pub(super) async fn ask_leader(&self, question: Bytes, within: Duration) -> Option<Bytes> {
        let deadline = InstantOf::<P>::now() + within;
        while !self.stop.has_begun() && InstantOf::<P>::now() < deadline {
            let leader = self.leadership.leader();
            if let Some(other) = leader.filter(|leader| *leader != self.identity.member) {
                let left = deadline - InstantOf::<P>::now();
                let within_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
                let question = Question { question: question.clone(), within_ms };
                let asked = self.peers.ask(other, Request::Ask(question), left);
                // A leader that is gone answers nothing: the next one is asked as soon as it leads.
                let another = self.leadership.until_other_than(leader);
                if let Select2::First(Ok(Reply::Answered(Answer { answer }))) =
                    P::Runtime::select2(asked, another).await
                {
                    return Some(answer);
                }
            }
            self.await_leader(leader).await;
            if leader == Some(self.identity.member) {
                return None;
            }
        }
        // Whoever asks tries again: at once, that would leave no turn for the stop.
        P::Runtime::sleep(self.settings.heartbeat_interval).await;
        None
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
