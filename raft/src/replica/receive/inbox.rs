//! What this member is being given, and how far that is.

use std::fmt;
use std::sync::Arc;

use openraft_rt::Instant;
use parking_lot::Mutex;
use vetch_proto::vetchpb::snapshot_reply::Outcome;
use vetch_storage::snapshot::Import;

use crate::platform::latest::Latest;
use crate::platform::{InstantOf, Platform};
use crate::transport::observer::StateOnItsWay;
use crate::transport::wire::{self, Offer};
use crate::types::Vote;

/// What this member is being given.
pub(crate) struct Inbox<P: Platform> {
    slot: Mutex<Slot<P>>,
}

struct Slot<P: Platform> {
    current: Option<Arc<Transfer<P>>>,
    /// The member stops: nothing new is begun.
    closed: bool,
}

/// One state that is on its way.
pub(super) struct Transfer<P: Platform> {
    pub(super) offer: Offer,
    pub(super) stage: Latest<Stage>,
    /// `None` before the first chunk, while one is taken, and after the last.
    pub(super) import: Mutex<Option<(u64, Import<P::Engine>)>>,
    pub(super) heard: Mutex<InstantOf<P>>,
    /// From the first bytes of the state until nothing more comes of it.
    on_its_way: Mutex<Option<StateOnItsWay<P::Runtime>>>,
}

/// How far a transfer is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stage {
    Due(u32),
    Working,
    Installed,
    /// Somebody else leads.
    Outvoted(Vote),
    Failed(String),
}

impl<P: Platform> Default for Inbox<P> {
    fn default() -> Self {
        Self { slot: Mutex::new(Slot { current: None, closed: false }) }
    }
}

impl<P: Platform> fmt::Debug for Inbox<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slot = self.slot.lock();
        let stage = slot.current.as_ref().map(|transfer| transfer.stage.get());
        f.debug_struct("Inbox").field("stage", &stage).finish_non_exhaustive()
    }
}

impl<P: Platform> Inbox<P> {
    /// The transfer that a chunk belongs to; a new one for the first chunk of a state, unless a newer
    /// leader is sending already. And one that is given up for it.
    pub(super) fn enter(&self, offer: Offer, chunk: u32) -> Result<Entered<P>, Outcome> {
        let mut slot = self.slot.lock();
        if let Some(current) = &slot.current {
            if current.offer.transfer == offer.transfer {
                *current.heard.lock() = InstantOf::<P>::now();
                return Ok(Entered { transfer: Arc::clone(current), is_new: false, before: None });
            }
            if current.offer.vote > offer.vote {
                return Err(Outcome::HigherVote(wire::encode_vote(&current.offer.vote)));
            }
        }
        if chunk != 0 || slot.closed {
            return Err(Outcome::Unknown(true));
        }
        let transfer = Arc::new(Transfer {
            offer,
            stage: Latest::new(Stage::Due(0)),
            import: Mutex::default(),
            heard: Mutex::new(InstantOf::<P>::now()),
            on_its_way: Mutex::default(),
        });
        let before = slot.current.replace(Arc::clone(&transfer));
        Ok(Entered { transfer, is_new: true, before })
    }

    pub(super) fn is_current(&self, transfer: &Arc<Transfer<P>>) -> bool {
        let slot = self.slot.lock();
        slot.current.as_ref().is_some_and(|current| Arc::ptr_eq(current, transfer))
    }

    /// Takes a transfer out, if it is still the one.
    pub(super) fn leave(&self, transfer: &Arc<Transfer<P>>) {
        let mut slot = self.slot.lock();
        drop(slot.current.take_if(|current| Arc::ptr_eq(current, transfer)));
    }

    /// Takes nothing more; what was being taken.
    pub(super) fn shut(&self) -> Option<Arc<Transfer<P>>> {
        let mut slot = self.slot.lock();
        slot.closed = true;
        slot.current.take()
    }
}

pub(super) struct Entered<P: Platform> {
    pub(super) transfer: Arc<Transfer<P>>,
    pub(super) is_new: bool,
    pub(super) before: Option<Arc<Transfer<P>>>,
}

impl<P: Platform> Transfer<P> {
    /// Whether `chunk` is the one that is due; then it is being worked on from now on.
    pub(super) fn begin_work(&self, chunk: u32) -> bool {
        let mut begins = false;
        self.stage.update(|stage| {
            begins = *stage == Stage::Due(chunk);
            if begins {
                *stage = Stage::Working;
            }
        });
        begins
    }

    /// Bytes of the state have come; the first ones make it one that is on its way.
    pub(super) fn begin(&self, first: impl FnOnce() -> StateOnItsWay<P::Runtime>) {
        self.on_its_way.lock().get_or_insert_with(first);
    }

    /// Nothing more comes of it: the state is in use, or not needed any more, or never will be. The first
    /// word counts.
    pub(super) fn end(&self, has_arrived: bool) {
        let on_its_way = self.on_its_way.lock().take();
        if let Some(state) = on_its_way
            && has_arrived
        {
            state.arrived();
        }
    }
}

impl From<Stage> for Outcome {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Due(chunk) => Self::Due(chunk),
            Stage::Working => Self::Working(true),
            Stage::Installed => Self::Installed(true),
            Stage::Outvoted(vote) => Self::HigherVote(wire::encode_vote(&vote)),
            Stage::Failed(reason) => Self::Failed(reason),
        }
    }
}
