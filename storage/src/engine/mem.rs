//! An engine in memory, for tests and the simulator.
//!
//! It keeps two images: what readers see, and what a power loss would leave. [`MemEngine::persist`]
//! copies the first over the second; [`MemEngine::crash`] is the power loss,
//! [`MemEngine::crash_live`] the death of the process alone. The n-th apply or persist can be made
//! to fail as a disk would.

use std::fmt;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use parking_lot::{Mutex, RwLock};

use super::{Batch, Bounds, Budget, Change, Engine, Family, Order, Scan, Sizes, covers_nothing};
use crate::error::Fatal;
use crate::types::LogIndex;

/// What an injected fault looks like to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// EIO.
    Io,
    /// ENOSPC.
    NoSpace,
}

impl Fault {
    fn to_fatal(self) -> Fatal {
        let (message, no_space) = match self {
            Self::Io => ("Input/output error (injected)", false),
            Self::NoSpace => ("No space left on device (injected)", true),
        };
        Fatal::Io { path: PathBuf::from("<memory>"), message: message.to_owned(), no_space }
    }
}

/// A stored value of which a bit is not as it was written. Prints where.
#[derive(Clone, Debug)]
pub struct Decayed {
    family: Family,
    key: Bytes,
    was: Bytes,
    is: Bytes,
}

impl fmt::Display for Decayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}", self.family, self.key.escape_ascii())
    }
}

/// One state of all families. Clones share everything that is equal.
#[derive(Clone, Debug, Default)]
struct Image {
    families: [OrdMap<Bytes, Bytes>; Family::ALL.len()],
    applied: LogIndex,
    /// Key and value bytes.
    bytes: u64,
}

impl Image {
    fn family(&self, family: Family) -> &OrdMap<Bytes, Bytes> {
        &self.families[family.slot()]
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Put { family, key, value } => {
                self.bytes += (key.len() + value.len()) as u64;
                let key_len = key.len();
                if let Some(old) = self.families[family.slot()].insert(key, value) {
                    self.bytes -= (key_len + old.len()) as u64;
                }
            }
            Change::Delete { family, key } => {
                if let Some(old) = self.families[family.slot()].remove(&key) {
                    self.bytes -= (key.len() + old.len()) as u64;
                }
            }
        }
    }
}

#[derive(Debug, Default)]
struct Control {
    applies: u64,
    persists: u64,
    fail_apply: Option<(u64, Fault)>,
    fail_persist: Option<(u64, Fault)>,
    is_congested: bool,
    /// The first error; every later write gives it again.
    poison: Option<Fatal>,
}

/// The engine. Share it behind an `Arc`.
#[derive(Debug, Default)]
pub struct MemEngine {
    live: RwLock<Arc<Image>>,
    durable: Mutex<Arc<Image>>,
    /// Also serializes writers, so that an image is never lost between two of them.
    control: Mutex<Control>,
}

impl MemEngine {
    /// An empty engine.
    pub fn new() -> Self {
        Self::default()
    }

    fn from_images(live: Arc<Image>, durable: Arc<Image>) -> Self {
        Self { live: RwLock::new(live), durable: Mutex::new(durable), control: Mutex::default() }
    }

    /// What a machine finds after a power loss: the durable image. This engine refuses further
    /// writes, as a process that is gone would make none.
    #[must_use]
    pub fn crash(&self) -> Self {
        self.stop();
        let durable = Arc::clone(&self.durable.lock());
        Self::from_images(Arc::clone(&durable), durable)
    }

    /// What the next process finds after this one was killed: everything applied, of which only the
    /// durable image would survive a later power loss. This engine refuses further writes.
    #[must_use]
    pub fn crash_live(&self) -> Self {
        self.stop();
        Self::from_images(Arc::clone(&self.live.read()), Arc::clone(&self.durable.lock()))
    }

    /// Makes the `nth` apply from now (1 = the next) fail; nothing of that batch becomes visible.
    pub fn fail_apply(&self, nth: u64, fault: Fault) {
        let mut control = self.control.lock();
        control.fail_apply = Some((control.applies + nth, fault));
    }

    /// Makes the `nth` persist from now (1 = the next) fail; the durable image stays as it was.
    pub fn fail_persist(&self, nth: u64, fault: Fault) {
        let mut control = self.control.lock();
        control.fail_persist = Some((control.persists + nth, fault));
    }

    /// From now on, says whether its background work lags. Nothing else comes of it.
    pub fn set_congested(&self, is_congested: bool) {
        self.control.lock().is_congested = is_congested;
    }

    /// Flips a bit of one of the stored values, which `draw` chooses, in both images: as it happens at
    /// rest. `None` when nothing is stored. The key of a value is left alone: an engine whose keys are
    /// not as they were written is damaged where this one has nothing.
    pub fn decay(&self, draw: u64) -> Option<Decayed> {
        let _writers_wait = self.control.lock();
        let image = Arc::clone(&self.live.read());
        let draw = usize::try_from(draw % (1 << 31)).unwrap_or(0);
        let count: usize = image.families.iter().map(OrdMap::len).sum();
        let nth = draw % count.max(1);
        let all = Family::ALL.into_iter().flat_map(|family| {
            image.family(family).iter().map(move |(key, value)| (family, key, value))
        });
        let (family, key, was) = all.skip(nth).find(|(.., value)| !value.is_empty())?;
        let mut bytes = was.to_vec();
        let bit = (draw / count) % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let decayed =
            Decayed { family, key: key.clone(), was: was.clone(), is: Bytes::from(bytes) };
        self.replace(&decayed, &decayed.was, &decayed.is);
        Some(decayed)
    }

    /// Puts back what [`decay`](Self::decay) changed, where it has not been overwritten.
    pub fn restore(&self, decayed: &Decayed) {
        let _writers_wait = self.control.lock();
        self.replace(decayed, &decayed.is, &decayed.was);
    }

    fn replace(&self, place: &Decayed, from: &Bytes, to: &Bytes) {
        let replaced = |image: &Arc<Image>| {
            let mut image = Image::clone(image);
            let family = &mut image.families[place.family.slot()];
            if family.get(&place.key) == Some(from) {
                family.insert(place.key.clone(), to.clone());
            }
            Arc::new(image)
        };
        let mut live = self.live.write();
        *live = replaced(&live);
        let mut durable = self.durable.lock();
        *durable = replaced(&durable);
    }

    /// The log position a power loss would leave.
    pub fn durable_applied(&self) -> LogIndex {
        self.durable.lock().applied
    }

    fn stop(&self) {
        self.control.lock().poison.get_or_insert_with(|| Fatal::Io {
            path: PathBuf::from("<memory>"),
            message: "the process of this engine has crashed".to_owned(),
            no_space: false,
        });
    }
}

impl Control {
    /// Fails if poisoned or if this operation, the `count`-th, is the one to fail.
    fn admit(&mut self, count: u64, planned: Option<(u64, Fault)>) -> Result<(), Fatal> {
        if let Some(fatal) = &self.poison {
            return Err(fatal.clone());
        }
        match planned {
            Some((nth, fault)) if nth == count => {
                let fatal = fault.to_fatal();
                self.poison = Some(fatal.clone());
                Err(fatal)
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl Engine for MemEngine {
    fn apply(&self, batch: Batch) -> Result<(), Fatal> {
        let mut control = self.control.lock();
        control.applies += 1;
        let (count, planned) = (control.applies, control.fail_apply);
        control.admit(count, planned)?;
        let mut image = Image::clone(&self.live.read());
        for change in batch.changes {
            image.change(change);
        }
        if let Some(applied) = batch.applied {
            assert!(applied >= image.applied, "the applied position never goes back");
            image.applied = applied;
        }
        *self.live.write() = Arc::new(image);
        Ok(())
    }

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, Fatal> {
        Ok(self.live.read().family(family).get(key).cloned())
    }

    fn scan(&self, family: Family, bounds: Bounds, order: Order) -> Scan<'_> {
        if covers_nothing(&bounds) {
            return Box::new(std::iter::empty());
        }
        Box::new(ImageScan { image: Arc::clone(&self.live.read()), family, bounds, order })
    }

    fn persist(&self) -> Result<LogIndex, Fatal> {
        let mut control = self.control.lock();
        control.persists += 1;
        let (count, planned) = (control.persists, control.fail_persist);
        control.admit(count, planned)?;
        let live = Arc::clone(&self.live.read());
        let applied = live.applied;
        *self.durable.lock() = live;
        Ok(applied)
    }

    fn applied(&self) -> LogIndex {
        self.live.read().applied
    }

    fn sizes(&self) -> Sizes {
        let bytes = self.live.read().bytes;
        Sizes { live: bytes, on_disk: bytes }
    }

    fn maintain(&self, _budget: Budget) -> Result<bool, Fatal> {
        match &self.control.lock().poison {
            Some(fatal) => Err(fatal.clone()),
            None => Ok(false),
        }
    }

    fn is_congested(&self) -> bool {
        self.control.lock().is_congested
    }
}

/// A scan of one image: it never sees a later batch. Seeks anew for each pair, because an iterator
/// cannot live beside the image it borrows from.
struct ImageScan {
    image: Arc<Image>,
    family: Family,
    bounds: Bounds,
    order: Order,
}

impl Iterator for ImageScan {
    type Item = Result<(Bytes, Bytes), Fatal>;

    fn next(&mut self) -> Option<Self::Item> {
        if covers_nothing(&self.bounds) {
            return None;
        }
        let mut range = self.image.family(self.family).range(self.bounds.clone());
        let (key, value) = match self.order {
            Order::Ascending => range.next()?,
            Order::Descending => range.next_back()?,
        };
        match self.order {
            Order::Ascending => self.bounds.0 = Bound::Excluded(key.clone()),
            Order::Descending => self.bounds.1 = Bound::Excluded(key.clone()),
        }
        Some(Ok((key.clone(), value.clone())))
    }
}
