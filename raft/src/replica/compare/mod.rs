//! Members compare what they have become of the same log, all the time.
//!
//! Every member notes a running digest of its state at positions that all of them note (`recent`), tells
//! the others, and hears theirs. What a quorum of the voters has is right (`judge`). Whoever differs is
//! named in a CORRUPT alarm, and stops by itself (`verdict`); no state is taken from it (`vouch`).
//!
//! The leader asks whenever a regular position lies behind it, everybody once a period, and anybody at once
//! who is told a digest that contradicts its own: so a leader whose own state is wrong is found, too. What
//! one member says is heard on both sides of the exchange: nobody has to outlive its own verdict.
//!
//! What disks have lost or changed afterwards is found by reading it again (`history`), when somebody asks.

mod history;
mod judge;
pub(crate) mod recent;
pub mod remedy;
mod verdict;
mod vouch;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use openraft_rt::{AsyncRuntime, Instant, Select2, WatchReceiver};
use parking_lot::Mutex;
use vetch_proto::vetchpb::Digests;
use vetch_proto::vetchpb::peer_reply::Reply;
use vetch_proto::vetchpb::peer_request::Request;
use vetch_storage::{LogIndex, NodeId};

use self::judge::{Known, are_at_odds};
use self::recent::{Mark, Recent, SPACING};
use super::Inner;
use crate::platform::latest::{Latest, LatestReader};
use crate::platform::{InstantOf, Platform};
use crate::types::Membership;

pub use history::NoHash;
pub use judge::Divergence;
pub(super) use vouch::Unvouched;

/// How long a difference may stay unseen while little is written.
const PERIOD: Duration = Duration::from_secs(1);
/// Questions that one member may owe an answer to at once.
const MOST_UNANSWERED: u32 = 4;

/// What a member knows of the others' states.
pub(crate) struct Comparison<I> {
    recent: Arc<Recent>,
    heard: Mutex<Heard<I>>,
    /// Counts the contradictions that this member was told of.
    contradictions: Latest<u64>,
    /// Newest position at which a quorum was found to have this member's state.
    agreed: AtomicU64,
}

struct Heard<I> {
    known: Known,
    at_odds: BTreeSet<NodeId>,
    /// Whom this member has found wrong, and when; 0 stands for "somebody".
    accused: BTreeMap<NodeId, I>,
    disputed_since: Option<I>,
}

impl<I> fmt::Debug for Comparison<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Comparison").field("agreed", &self.agreed()).finish_non_exhaustive()
    }
}

impl<I> Comparison<I> {
    pub(super) fn new(recent: Arc<Recent>) -> Self {
        let heard = Heard {
            known: Known::new(),
            at_odds: BTreeSet::new(),
            accused: BTreeMap::new(),
            disputed_since: None,
        };
        Self {
            recent,
            heard: Mutex::new(heard),
            contradictions: Latest::new(0),
            agreed: AtomicU64::new(0),
        }
    }

    /// See [`Status::agreed`](super::Status::agreed).
    pub(super) fn agreed(&self) -> LogIndex {
        LogIndex(self.agreed.load(Ordering::Acquire))
    }

    /// What `from` says of itself replaces what it said before. `true` when it contradicts this member
    /// for the first time.
    fn heard(&self, from: NodeId, marks: Vec<Mark>) -> bool {
        let at_odds = are_at_odds(&self.recent.marks(), &marks);
        let mut heard = self.heard.lock();
        heard.known.insert(from, marks);
        if at_odds {
            return heard.at_odds.insert(from);
        }
        heard.at_odds.remove(&from);
        false
    }

    /// Whether all the others were heard to have the very state that this member has now.
    fn is_settled(&self, others: &BTreeSet<NodeId>) -> bool {
        let Some(own) = self.recent.marks().last().copied() else { return true };
        let heard = self.heard.lock();
        others.iter().all(|other| heard.known.get(other).is_some_and(|marks| marks.contains(&own)))
    }
}

/// Why it is time to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// Somebody has another state.
    Contradiction,
    /// There is a new position that all members note.
    Position,
    Time,
}

/// Whose word is asked for.
struct Group {
    /// Whose word counts.
    voters: BTreeSet<NodeId>,
    /// Voters and learners, but for who asks.
    others: BTreeSet<NodeId>,
}

impl Group {
    /// The group of `membership`, for `me` to ask.
    fn of(membership: &Membership, me: NodeId) -> Self {
        let everybody = membership.nodes().map(|(id, ())| NodeId(*id));
        Self {
            voters: membership.voter_ids().map(NodeId).collect(),
            others: everybody.filter(|id| *id != me).collect(),
        }
    }
}

/// Runs until the replica stops.
pub(super) async fn compare_states<P: Platform>(inner: Arc<Inner<P>>) {
    let comparing = Box::pin(inner.keep_comparing());
    let _ended = P::Runtime::select2(inner.stop.ended(), comparing).await;
}

impl<P: Platform> Inner<P> {
    /// Nobody is waited for: whoever is down, and an answer that is lost, must not keep this member from
    /// seeing that somebody differs.
    async fn keep_comparing(&self) {
        let mut contradictions = self.comparison.contradictions.reader();
        let mut asked = FuturesUnordered::new();
        let mut asking = BTreeMap::<NodeId, u32>::new();
        let (mut compared, mut look) = (LogIndex(0), InstantOf::<P>::now() + PERIOD);
        while !self.stop.has_begun() {
            let due = Box::pin(self.due(&mut contradictions, compared, look));
            let event = P::Runtime::select2(due, Box::pin(next_of(&mut asked))).await;
            match event {
                Select2::First(due) => {
                    compared = self.progress.applied();
                    if due == Due::Time {
                        look = InstantOf::<P>::now() + PERIOD;
                    }
                    let Some(group) = self.compared_group() else { continue };
                    // Also from what the others have told meanwhile, without being asked.
                    self.conclude().await;
                    if due != Due::Time || !self.comparison.is_settled(&group.others) {
                        for other in group.others {
                            let unanswered = asking.entry(other).or_default();
                            if *unanswered < MOST_UNANSWERED {
                                *unanswered += 1;
                                asked.push(self.ask_digests(other));
                            }
                        }
                    }
                }
                Select2::Second((other, answer)) => {
                    asking.entry(other).and_modify(|unanswered| *unanswered -= 1);
                    if let Some(marks) = answer {
                        self.comparison.heard(other, marks);
                        self.conclude().await;
                    }
                }
            }
        }
    }

    async fn due(
        &self,
        contradictions: &mut LatestReader<u64>,
        compared: LogIndex,
        look: InstantOf<P>,
    ) -> Due {
        let position = Box::pin(self.leads_past_a_position(compared));
        let timed = P::Runtime::select2(position, P::Runtime::sleep_until(look));
        match P::Runtime::select2(Box::pin(contradictions.changed()), timed).await {
            Select2::First(_) => Due::Contradiction,
            Select2::Second(Select2::First(())) => Due::Position,
            Select2::Second(Select2::Second(())) => Due::Time,
        }
    }

    /// Resolves when a regular position after `compared` is applied here, by a leader: one that begins to
    /// lead under load compares at the next.
    async fn leads_past_a_position(&self, mut compared: LogIndex) {
        loop {
            let next = LogIndex((compared.0 / SPACING + 1) * SPACING);
            if self.progress.wait(next).await.is_err() {
                // The member stops.
                return std::future::pending().await;
            }
            if self.leadership.leading().is_some() {
                return;
            }
            compared = self.progress.applied();
        }
    }

    /// This member's group; `None` when it is not in it.
    fn compared_group(&self) -> Option<Group> {
        let (metrics, me) = (self.metrics.borrow_watched(), self.identity.member);
        let membership = metrics.membership_config.membership();
        membership.get_node(&me.0).is_some().then(|| Group::of(membership, me))
    }

    /// Tells `other` of this member's state, and gives its answer; `None` when there was none in time.
    async fn ask_digests(&self, other: NodeId) -> (NodeId, Option<Vec<Mark>>) {
        let digests = recent::encode(&self.comparison.recent.marks());
        let request = Request::Compare(Digests { digests });
        let marks = match self.peers.ask(other, request, self.settings.election_timeout).await {
            Ok(Reply::Compared(Digests { digests })) => Some(recent::decode(digests)),
            Ok(_) | Err(_) => None,
        };
        (other, marks)
    }

    /// Hears what a peer says of its state, and answers with this member's own.
    pub(super) fn take_digests(&self, from: NodeId, sent: Digests) -> Reply {
        if self.comparison.heard(from, recent::decode(sent.digests)) {
            self.comparison.contradictions.update(|count| *count += 1);
        }
        Reply::Compared(Digests { digests: recent::encode(&self.comparison.recent.marks()) })
    }
}

/// The next answer; never, while nobody is asked.
async fn next_of<F: Future>(asked: &mut FuturesUnordered<F>) -> F::Output {
    match asked.next().await {
        Some(answer) => answer,
        None => std::future::pending().await,
    }
}
