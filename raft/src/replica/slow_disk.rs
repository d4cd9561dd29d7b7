//! A leader whose disk does not come back hands leadership over.
//!
//! Nothing waits for a leader's own disk as long as a quorum of others has what is to be committed. So it
//! leads on for as long as a stall may last that ends by itself, and nobody notices. But what its disk owes
//! is in memory until then, and more with each write: at last it hands over, to a member whose disk has kept
//! up all the while. From then on it does nothing until its disk is back, because openraft waits until the
//! next leader is noted there.
//!
//! Nobody hands over where that would not help: when the others are slow, too, or too few of them are there
//! to elect somebody without this member's vote, which its disk would have to keep.

use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft_rt::{AsyncRuntime, Instant, WatchReceiver};
use vetch_storage::NodeId;

use super::Inner;
use super::transfer::TransferError;
use crate::platform::{InstantOf, Platform};

/// Election timeouts after which a write that has not come back will not soon.
const PATIENCE: u32 = 20;
/// Looks per election timeout.
const LOOKS: u32 = 10;

/// What was seen of the disk.
struct Watch<I> {
    done: u64,
    /// Since when nothing has come back of what is under way; and the log's end then.
    waiting: Option<(I, u64)>,
}

impl<I: Instant> Watch<I> {
    /// How long the disk has been busy with the same write, at least; and what the log held before that.
    fn look(&mut self, (done, under_way): (u64, u64), end: u64) -> Option<(Duration, u64)> {
        if under_way == 0 || done != self.done {
            *self = Self { done, waiting: None };
        }
        if under_way == 0 {
            return None;
        }
        let (since, end) = *self.waiting.get_or_insert_with(|| (I::now(), end));
        Some((since.elapsed(), end))
    }
}

impl<P: Platform> Inner<P> {
    /// Looks after the disk while this member leads.
    pub(super) async fn watch_disk(&self) {
        let patience = self.settings.election_timeout * PATIENCE;
        let mut watch = Watch::<InstantOf<P>> { done: 0, waiting: None };
        let mut last: Option<InstantOf<P>> = None;
        loop {
            P::Runtime::sleep(self.settings.election_timeout / LOOKS).await;
            let end = self.metrics.borrow_watched().last_log_index.map_or(0, |index| index + 1);
            let Some((busy, end)) = watch.look(self.backlog.look(), end) else { continue };
            let rests = last.is_some_and(|last| last.elapsed() < patience);
            if busy < patience || rests || self.leadership.leading().is_none() {
                continue;
            }
            let Some(target) = self.quick_successor(end) else { continue };
            last = Some(InstantOf::<P>::now());
            tracing::warn!(
                ?busy, to = %format_args!("{:x}", target.0),
                "the disk of this leader's log does not come back, and those of others do: handing over"
            );
            self.handed_over.fetch_add(1, Ordering::Relaxed);
            match self.hand_over(target).await {
                // This member hears of its successor when its disk is back.
                Ok(()) | Err(TransferError::TimedOut) => {}
                Err(error) => tracing::warn!(%error, "leadership stays with the slow disk"),
            }
        }
    }

    /// The readiest voter with a disk that has taken the log up to `end`, if so many have that they can
    /// elect it by themselves.
    fn quick_successor(&self, end: u64) -> Option<NodeId> {
        let quick: Vec<(u64, u64)> = {
            let metrics = self.metrics.borrow_watched();
            let (Some(matched), Some(heard)) = (&metrics.replication, &metrics.heartbeat) else {
                return None;
            };
            let voters: Vec<u64> = metrics.membership_config.membership().voter_ids().collect();
            let is_there = |id: &u64| {
                let heard = heard.get(id).copied().flatten();
                heard.is_some_and(|at| at.elapsed() < self.settings.election_timeout)
            };
            let matched = |id: u64| {
                let upto = matched.get(&id).copied().flatten().map_or(0, |id| id.index + 1);
                (upto, id)
            };
            let others = voters.iter().copied().filter(|id| *id != self.identity.member.0);
            let quick: Vec<_> =
                others.filter(is_there).map(matched).filter(|(upto, _)| *upto >= end).collect();
            if quick.len() < voters.len() / 2 + 1 {
                return None;
            }
            quick
        };
        let best = quick.into_iter().max().map(|(_, id)| NodeId(id))?;
        self.is_ready(best).is_ok().then_some(best)
    }
}
