//! This member's side of what it says to its peers, and whom it takes their answers from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use vetch_proto::vetchpb::peer_reply::Reply;
use vetch_proto::vetchpb::peer_request::Request;
use vetch_proto::vetchpb::refusal::Reason;
use vetch_proto::vetchpb::{AppendReply, PeerReply, PeerRequest, Refusal};
use vetch_storage::NodeId;

use super::feed::Feeds;
use super::observer::{StateOnItsWay, Way};
use super::pause::Pause;
use super::roster::Roster;
use super::wire::{self, Unreadable};
use super::{Addresses, Channel, Link, LinkError, Transport};
use crate::platform::Platform;
use crate::replica::StopReason;

pub(super) type LinkOf<P> = <<P as Platform>::Transport as Transport>::Link;

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// The message did not arrive, or its answer did not.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The peer refused, or is not who it should be.
    #[error("refused: {}", .0.message)]
    Refused(Refusal),
}

/// The ways to all peers.
pub(crate) struct Peers<P: Platform> {
    pub(super) platform: P,
    transport: P::Transport,
    pub(crate) roster: Roster,
    addresses: Addresses,
    pub(super) timing: Timing,
    pauses: Mutex<BTreeMap<NodeId, Arc<Pause<P::Runtime>>>>,
    forwards: Mutex<BTreeMap<NodeId, Arc<LinkOf<P>>>>,
    pub(crate) feeds: Feeds<P::Runtime>,
    /// The last refusal by each peer, so that each is said once.
    refusals: Mutex<BTreeMap<NodeId, String>>,
    /// What each peer's last answer to this leader has promised.
    promises: Mutex<BTreeMap<NodeId, Duration>>,
    /// Who could not be reached the last time, and is reported.
    lost: Mutex<BTreeSet<NodeId>>,
}

/// How long to wait for peers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// A peer that could not be reached is tried again after this at the latest.
    pub(crate) longest_pause: Duration,
    /// A heartbeat without an answer is said again after this.
    pub(crate) heartbeat: Duration,
    /// A stream whose oldest request has waited this long for its reply is given up.
    pub(crate) stall: Duration,
}

impl<P: Platform> fmt::Debug for Peers<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peers").field("roster", &self.roster).finish_non_exhaustive()
    }
}

impl<P: Platform> Peers<P> {
    pub(crate) fn new(platform: P, roster: Roster, addresses: Addresses, timing: Timing) -> Self {
        Self {
            transport: platform.transport(),
            platform,
            roster,
            addresses,
            timing,
            pauses: Mutex::default(),
            forwards: Mutex::default(),
            feeds: Feeds::default(),
            refusals: Mutex::default(),
            promises: Mutex::default(),
            lost: Mutex::default(),
        }
    }

    /// Asks `target` something that only a leader can do.
    pub(crate) async fn ask(
        &self,
        target: NodeId,
        request: Request,
        within: Duration,
    ) -> Result<Reply, AskError> {
        let link = {
            let mut forwards = self.forwards.lock();
            let new = || Arc::new(self.link(target, Channel::Forward));
            Arc::clone(forwards.entry(target).or_insert_with(new))
        };
        self.call(&*link, target, request, within).await
    }

    pub(super) fn link(&self, target: NodeId, channel: Channel) -> LinkOf<P> {
        self.transport.link(target, channel, &self.addresses)
    }

    /// A whole state begins its way to or from `peer`.
    pub(crate) fn state_begins(&self, peer: NodeId, way: Way) -> StateOnItsWay<P::Runtime> {
        StateOnItsWay::begin(self.transport.traffic(peer), way)
    }

    pub(super) fn pause(&self, target: NodeId) -> Arc<Pause<P::Runtime>> {
        let mut pauses = self.pauses.lock();
        let new = || Arc::new(Pause::new(self.timing.longest_pause));
        Arc::clone(pauses.entry(target).or_insert_with(new))
    }

    pub(super) async fn call(
        &self,
        link: &LinkOf<P>,
        target: NodeId,
        request: Request,
        within: Duration,
    ) -> Result<Reply, AskError> {
        let pause = self.pause(target);
        if matches!(request, Request::Heartbeat(_)) && !pause.is_over() {
            // A late heartbeat is worth nothing: the next one is on its way.
            return Err(LinkError::Unreachable("it could not be reached just now".into()).into());
        }
        pause.over().await;
        let hello = Some(self.roster.hello(target));
        let answer = link.call(PeerRequest { hello, request: Some(request) }, within).await;
        if let Err(LinkError::Unreachable(reason)) = &answer {
            pause.failed();
            self.report_lost(target, reason);
        }
        let PeerReply { instance, reply } = answer?;
        pause.succeeded();
        self.report_reached(target);
        self.checked(target, instance).await?;
        match reply {
            Some(Reply::Refused(refusal)) => Err(self.refused(target, refusal)),
            Some(reply) => Ok(reply),
            None => Err(AskError::Refused(wire::unreadable(&Unreadable("its reply")))),
        }
    }

    pub(super) fn note_promise(&self, target: NodeId, reply: &AppendReply) {
        self.promises.lock().insert(target, Duration::from_millis(reply.keeps_ms));
    }

    /// For how long after it has heard of this leader `peer` lets nobody else lead, whatever happens to
    /// it; nothing as long as it has not said so.
    pub(crate) fn promise_of(&self, peer: NodeId) -> Duration {
        self.promises.lock().get(&peer).copied().unwrap_or_default()
    }

    fn report_lost(&self, target: NodeId, reason: &str) {
        if self.lost.lock().insert(target) {
            let peer = format_args!("{:x}", target.0);
            tracing::warn!(%peer, reason, "peer became inactive: it cannot be reached");
        }
    }

    fn report_reached(&self, target: NodeId) {
        if self.lost.lock().remove(&target) {
            tracing::info!(peer = %format_args!("{:x}", target.0), "peer became active");
        }
    }

    /// Whether the answer is from the member it was asked of.
    pub(super) async fn checked(&self, target: NodeId, instance: u64) -> Result<(), AskError> {
        let known = self.roster.recognize(target, instance).await;
        known.map_err(|refusal| self.refused(target, refusal))
    }

    pub(super) fn refused(&self, target: NodeId, refusal: Refusal) -> AskError {
        if refusal.reason() == Reason::Removed {
            // From a member of this very cluster: who it is has been checked before its words are heard.
            self.roster.stop().raise(StopReason::Removed);
        }
        if refusal.reason() == Reason::Stranger {
            let mut refusals = self.refusals.lock();
            let before = refusals.insert(target, refusal.message.clone());
            if before.as_ref() != Some(&refusal.message) {
                tracing::error!(peer = %format_args!("{:x}", target.0), "{}", refusal.message);
            }
        }
        AskError::Refused(refusal)
    }
}
