//! The leader's side of giving a peer a whole state.
//!
//! One chunk is under way and the next one read ahead, never more. A connection that breaks costs the
//! chunk that was on it; the peer says which one is due. The state is the pinned view openraft was told
//! of, so writes and compactions go on beside it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join;
use openraft::StorageError;
use openraft_rt::{AsyncRuntime, Instant};
use parking_lot::Mutex;
use vetch_proto::vetchpb::peer_reply::Reply;
use vetch_proto::vetchpb::peer_request::Request;
use vetch_proto::vetchpb::snapshot_reply::Outcome;
use vetch_storage::snapshot::Export;
use vetch_storage::{LogIndex, NodeId, ReadView};

use super::Channel;
use super::network::rpc_error;
use super::observer::Way;
use super::peer::{AskError, LinkOf, Peers};
use super::wire::{self, Offer};
use crate::apply::snapshot::Meta;
use crate::platform::{InstantOf, Platform};
use crate::types::rpc::{SnapshotResponse, StreamingError, Unreachable};
use crate::types::{Cause, Vote};

/// Longest wait for an answer to one chunk.
const CALL_WITHIN: Duration = Duration::from_secs(10);
/// A peer that cannot be reached for this long has to begin anew when it is back.
const PATIENCE: Duration = Duration::from_mins(1);
/// Longest wait for a peer to deal with one chunk; with the last one it reads everything back.
const LONGEST_WORK: Duration = Duration::from_mins(30);
/// How often a chunk may arrive damaged before somebody must look at it.
const MAX_DAMAGED: u32 = 8;
/// Rest before a state is sent again to a peer that could not take it.
const AFTER_FAILURE: Duration = Duration::from_secs(10);
/// After each chunk twice as long a rest as the chunk took, this much at most: feeding a peer takes a third
/// of a core and of a disk, so that the slowest puts beside it stay near what they are without.
const LONGEST_REST: Duration = Duration::from_millis(500);
/// How long the log is kept for a peer that has got its state, and now needs what came after it; or that
/// will be offered another one at once.
const KEPT_AFTER: Duration = Duration::from_secs(30);

/// Which peers are being given a state. While there is one, the log is kept: the peer needs what came
/// after its state, or it would have to be given another one.
#[derive(Debug)]
pub(crate) struct Feeds<R: AsyncRuntime> {
    state: Mutex<State<R::Instant>>,
}

#[derive(Debug)]
struct State<I> {
    peers: BTreeMap<NodeId, Fed<I>>,
    /// What the log may have lost: everything up to here.
    let_go: LogIndex,
}

#[derive(Clone, Copy, Debug)]
enum Fed<I> {
    /// Its state is on its way.
    Now,
    /// It has got it, and may need the log until then.
    Done(I),
}

impl<R: AsyncRuntime> Default for Feeds<R> {
    fn default() -> Self {
        Self { state: Mutex::new(State { peers: BTreeMap::new(), let_go: LogIndex(0) }) }
    }
}

impl<R: AsyncRuntime> Feeds<R> {
    /// Whether the log may lose everything up to `upto`: nobody needs it as it is.
    pub(crate) fn let_go(&self, upto: LogIndex) -> bool {
        let mut state = self.state.lock();
        let now = R::Instant::now();
        state.peers.retain(|_, fed| !matches!(fed, Fed::Done(until) if *until <= now));
        let may = state.peers.is_empty();
        if may {
            state.let_go = state.let_go.max(upto);
        }
        may
    }

    /// `target` answers: it is being fed the state at `position` from now on. `None` when the log has lost
    /// what follows that, because the answer took so long; it loses nothing more until the next attempt.
    fn begin(&self, target: NodeId, position: LogIndex) -> Option<Feeding<'_, R>> {
        let mut state = self.state.lock();
        if position < state.let_go {
            state.peers.insert(target, Fed::Done(R::Instant::now() + KEPT_AFTER));
            return None;
        }
        state.peers.insert(target, Fed::Now);
        Some(Feeding { feeds: self, target })
    }
}

/// One peer being fed. Dropped, it is not any more: one that never takes its state must not fill the
/// others' disks with log.
struct Feeding<'a, R: AsyncRuntime> {
    feeds: &'a Feeds<R>,
    target: NodeId,
}

impl<R: AsyncRuntime> Feeding<'_, R> {
    fn succeeded(self) {
        let until = R::Instant::now() + KEPT_AFTER;
        self.feeds.state.lock().peers.insert(self.target, Fed::Done(until));
    }
}

impl<R: AsyncRuntime> Drop for Feeding<'_, R> {
    fn drop(&mut self) {
        let peers = &mut self.feeds.state.lock().peers;
        if let Some(Fed::Now) = peers.get(&self.target) {
            peers.remove(&self.target);
        }
    }
}

/// What a peer says of a chunk.
enum Answer {
    /// This one is to be sent next.
    Due(u32),
    Working,
    /// The state is in use, or the peer had a newer one.
    Installed,
    Outvoted(Vote),
}

/// Why a state does not arrive. It is tried again from its beginning.
#[derive(Clone, Debug, thiserror::Error)]
enum FeedError {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("the peer has lost what it had of the state")]
    Lost,
    #[error("the log has lost what follows the state")]
    Stale,
    #[error("the peer cannot take the state: {0}")]
    Refused(String),
    #[error("chunk {0} arrived damaged again and again")]
    Damaged(u32),
    #[error("the peer has worked on chunk {0} for too long")]
    Stuck(u32),
    #[error("the peer's answer makes no sense")]
    Unexpected,
}

/// A state on its way to one peer.
struct Feed<'a, P: Platform> {
    peers: &'a Peers<P>,
    link: LinkOf<P>,
    target: NodeId,
    offer: Offer,
}

impl<P: Platform> Peers<P> {
    /// Gives `target` the state of `view`, which is what `meta` says; returns when it is in use there.
    pub(super) async fn feed(
        &self,
        target: NodeId,
        vote: Vote,
        meta: Meta,
        view: ReadView<P::Engine>,
    ) -> Result<SnapshotResponse<P::Runtime>, StreamingError<P::Runtime>> {
        let (link, began) = (self.link(target, Channel::Snapshot), InstantOf::<P>::now());
        let transfer = self.platform.random();
        let offer = Offer { vote, transfer, meta, digest: view.digest() };
        let feed = Feed { peers: self, link, target, offer };
        match feed.send(view).await? {
            Ok((sent, higher)) => {
                tracing::info!(
                    peer = %format_args!("{:x}", target.0), state = %feed.offer.meta, bytes = sent,
                    took = ?began.elapsed(), is_outvoted = higher.is_some(), "sent a whole state"
                );
                Ok(SnapshotResponse::new(higher.unwrap_or(vote)))
            }
            Err(error) => Err(feed.failed(error).await),
        }
    }
}

/// Bytes that were sent; and a vote that ended it, if there was one.
type Sent = (usize, Option<Vote>);

impl<P: Platform> Feed<'_, P> {
    /// Sends all of it. The outer error is this member's own.
    async fn send(
        &self,
        view: ReadView<P::Engine>,
    ) -> Result<Result<Sent, FeedError>, StreamingError<P::Runtime>> {
        // Before anything is read: most peers that lack a state are down.
        match self.ask(0, Bytes::new()).await {
            Ok(Answer::Due(0)) => {}
            Ok(Answer::Outvoted(higher)) => return Ok(Ok((0, Some(higher)))),
            Ok(_) => return Ok(Err(FeedError::Unexpected)),
            Err(error) => return Ok(Err(error)),
        }
        // With a state that nothing follows the peer would need another one right behind it.
        let position = view.applied().index;
        let Some(feeding) = self.peers.feeds.begin(self.target, position) else {
            return Ok(Err(FeedError::Stale));
        };
        let on_its_way = self.peers.state_begins(self.target, Way::Out);
        let (mut number, mut sent) = (0, 0);
        let (mut chunk, mut export) = self.read(Export::new(view)).await?;
        while let Some(contents) = chunk {
            let began = InstantOf::<P>::now();
            sent += contents.len();
            let (answer, read) = join(self.deliver(number, contents), self.read(export)).await;
            match answer {
                Ok(Answer::Due(_) | Answer::Working) => {}
                Ok(Answer::Outvoted(higher)) => return Ok(Ok((sent, Some(higher)))),
                Ok(Answer::Installed) => {
                    feeding.succeeded();
                    on_its_way.arrived();
                    return Ok(Ok((sent, None)));
                }
                Err(error) => return Ok(Err(error)),
            }
            (chunk, export) = read?;
            number += 1;
            P::Runtime::sleep((2 * began.elapsed()).min(LONGEST_REST)).await;
        }
        Ok(Err(FeedError::Unexpected))
    }

    async fn read(
        &self,
        mut export: Export<P::Engine>,
    ) -> Result<(Option<Bytes>, Export<P::Engine>), StreamingError<P::Runtime>> {
        let budget = self.peers.platform.snapshot_chunk_bytes();
        let next = move || export.next_chunk(budget).map(|chunk| (chunk, export));
        let read = self.peers.platform.blocking(next).await;
        // This member's own state cannot be read: it must stop.
        read.map_err(|fatal| StorageError::read_snapshot(None, Cause::from(fatal)).into())
    }

    /// Sends a chunk until the next one is due, or none.
    async fn deliver(&self, number: u32, contents: Bytes) -> Result<Answer, FeedError> {
        let (mut heard, mut damaged) = (InstantOf::<P>::now(), 0);
        let mut sending = contents.clone();
        loop {
            let is_sent = !sending.is_empty();
            // What may have arrived is not sent again before it is asked for.
            match self.ask(number, std::mem::take(&mut sending)).await {
                Ok(Answer::Due(due)) if due == number => {
                    heard = InstantOf::<P>::now();
                    damaged += u32::from(is_sent);
                    if damaged > MAX_DAMAGED {
                        return Err(FeedError::Damaged(number));
                    }
                    sending = contents.clone();
                }
                Ok(Answer::Due(due)) if due != number + 1 => return Err(FeedError::Unexpected),
                Ok(Answer::Working) if heard.elapsed() > LONGEST_WORK => {
                    return Err(FeedError::Stuck(number));
                }
                Ok(Answer::Working) => {}
                Ok(answer) => return Ok(answer),
                Err(FeedError::Ask(AskError::Link(_))) if heard.elapsed() < PATIENCE => {
                    P::Runtime::sleep(self.peers.timing.longest_pause).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a chunk once, or asks what has become of it.
    async fn ask(&self, number: u32, contents: Bytes) -> Result<Answer, FeedError> {
        let request = Request::Snapshot(wire::encode_chunk(&self.offer, number, contents));
        let asked = self.peers.call(&self.link, self.target, request, CALL_WITHIN).await;
        let Reply::Snapshot(reply) = asked? else { return Err(FeedError::Unexpected) };
        match reply.outcome.ok_or(FeedError::Unexpected)? {
            Outcome::Due(due) => Ok(Answer::Due(due)),
            Outcome::Working(_) => Ok(Answer::Working),
            Outcome::Installed(_) => Ok(Answer::Installed),
            Outcome::HigherVote(vote) => {
                let vote = wire::decode_vote(Some(vote));
                vote.map(Answer::Outvoted).map_err(|_invalid| FeedError::Unexpected)
            }
            Outcome::Unknown(_) => Err(FeedError::Lost),
            Outcome::Failed(reason) => Err(FeedError::Refused(reason)),
        }
    }

    /// Waits before the next attempt, when it is not to be expected that it goes better at once.
    async fn failed(&self, error: FeedError) -> StreamingError<P::Runtime> {
        if let FeedError::Ask(error) = &error {
            return rpc_error(error).into();
        }
        tracing::warn!(
            peer = %format_args!("{:x}", self.target.0), state = %self.offer.meta, %error,
            "a whole state did not arrive; it is sent again"
        );
        if !matches!(error, FeedError::Lost | FeedError::Stale) {
            P::Runtime::sleep(AFTER_FAILURE).await;
        }
        StreamingError::Unreachable(Unreachable::new(&error))
    }
}

#[cfg(test)]
mod tests {
    use openraft_rt_tokio::TokioRuntime;

    use super::*;

    #[test]
    fn a_state_is_fed_only_while_the_log_has_what_follows_it() {
        let feeds = Feeds::<TokioRuntime>::default();
        assert!(feeds.let_go(LogIndex(7)));
        assert!(feeds.begin(NodeId(2), LogIndex(6)).is_none(), "7 follows, and is gone");
        assert!(!feeds.let_go(LogIndex(8)), "the next attempt shall find what follows it");
        let feeding = feeds.begin(NodeId(2), LogIndex(7)).unwrap();
        assert!(!feeds.let_go(LogIndex(9)), "it needs 8");
        drop(feeding);
        let feeding = feeds.begin(NodeId(2), LogIndex(7)).unwrap();
        feeding.succeeded();
        assert!(!feeds.let_go(LogIndex(9)), "it may need 8 still");
        assert!(feeds.begin(NodeId(3), LogIndex(7)).is_some(), "kept for one, kept for all");
    }
}
