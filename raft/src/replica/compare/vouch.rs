//! Whether a state that a leader offers is the one its group has.
//!
//! The digest in the offer is the leader's own: of a leader whose state is wrong, it fits the wrong state.
//! So the receiver asks everybody. A group in which too few can answer is not kept waiting: then there
//! is nobody who knows better than the leader.

use std::time::Duration;

use futures::future::join_all;
use openraft_rt::{AsyncRuntime, Instant};
use vetch_storage::{LogIndex, NodeId};

use super::Group;
use super::judge::{Divergence, Known, Vouched, vouch};
use crate::platform::{InstantOf, Platform};
use crate::replica::Inner;
use crate::types::Membership;

/// Those who answer may be behind the state: how long they may take to come to it.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often those are asked who do not answer.
const ATTEMPTS: u32 = 3;

/// Why a state is not taken.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(in crate::replica) enum Unvouched {
    #[error("the state is not the group's: {0}")]
    Wrong(Divergence),
    #[error("other members have another state than the sender, and no quorum says who is right")]
    Disputed,
    #[error("this member stops")]
    Stops,
}

impl<P: Platform> Inner<P> {
    /// Asks the group of `membership` about the state that `sender` has at `at`.
    pub(in crate::replica) async fn vouched(
        &self,
        sender: NodeId,
        at: LogIndex,
        membership: &Membership,
    ) -> Result<(), Unvouched> {
        let Group { voters, others } = Group::of(membership, self.identity.member);
        if others.iter().all(|other| *other == sender) {
            return Ok(());
        }
        let deadline = InstantOf::<P>::now() + PATIENCE;
        for attempt in 1.. {
            if self.stop.has_begun() {
                return Err(Unvouched::Stops);
            }
            let answers = join_all(others.iter().map(|other| self.ask_digests(*other))).await;
            let heard = answers.into_iter().filter_map(|(other, marks)| Some((other, marks?)));
            let known: Known = heard.collect();
            let is_late = InstantOf::<P>::now() >= deadline;
            let answered = known.keys().any(|other| *other != sender && voters.contains(other));
            match vouch(&voters, &known, sender, at) {
                Vouched::Yes => return Ok(()),
                Vouched::No(divergence) => return Err(Unvouched::Wrong(divergence)),
                Vouched::Disputed if is_late => return Err(Unvouched::Disputed),
                Vouched::Unknown if is_late || (!answered && attempt >= ATTEMPTS) => {
                    tracing::warn!(
                        sender = %format_args!("{:x}", sender.0), index = at.0,
                        "too few members can tell whether the state that is received is the group's"
                    );
                    return Ok(());
                }
                Vouched::Disputed | Vouched::Unknown => {
                    P::Runtime::sleep(self.settings.heartbeat_interval).await;
                }
            }
        }
        unreachable!("it ends with an answer or at its deadline")
    }
}
