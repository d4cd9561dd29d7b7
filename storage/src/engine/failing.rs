//! An engine whose calls fail on demand, around any other.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::poison::Poison;
use super::{Batch, Bounds, Budget, Engine, Family, Order, Scan, Sizes};
use crate::error::Fatal;
use crate::types::LogIndex;

pub use super::mem::Fault;

/// A call of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// [`Engine::apply`].
    Apply,
    /// [`Engine::load`].
    Load,
    /// [`Engine::persist`].
    Persist,
    /// [`Engine::get`].
    Get,
    /// [`Engine::scan`]: its first pair.
    Scan,
    /// [`Engine::maintain`].
    Maintain,
}

impl Call {
    /// Every call.
    pub const ALL: [Self; 6] =
        [Self::Apply, Self::Load, Self::Persist, Self::Get, Self::Scan, Self::Maintain];
}

/// Which call fails, and how. Clones are the same plan.
#[derive(Clone, Debug, Default)]
pub struct Plan(Arc<Mutex<Option<(Call, u64, Fault)>>>);

impl Plan {
    /// Lets the `nth` such call from now on fail; 1 is the next.
    pub fn fail(&self, call: Call, nth: u64, fault: Fault) {
        *self.0.lock() = Some((call, nth, fault));
    }

    /// Whether the planned call has come.
    pub fn has_struck(&self) -> bool {
        self.0.lock().is_none()
    }

    fn strike(&self, call: Call) -> Option<io::Error> {
        const EIO: i32 = 5;
        const ENOSPC: i32 = 28;
        let mut plan = self.0.lock();
        let (planned, left, fault) = plan.as_mut()?;
        if *planned != call {
            return None;
        }
        *left -= 1;
        if *left > 0 {
            return None;
        }
        let code = match fault {
            Fault::Io => EIO,
            Fault::NoSpace => ENOSPC,
        };
        *plan = None;
        Some(io::Error::from_raw_os_error(code))
    }
}

/// The engine. As every engine it refuses writes after its first failure.
#[derive(Debug)]
pub struct FailingEngine<E> {
    inner: E,
    path: PathBuf,
    plan: Plan,
    poison: Poison,
}

impl<E: Engine> FailingEngine<E> {
    /// `inner`, whose files are at `path`, failing by `plan`.
    pub fn new(inner: E, path: &Path, plan: Plan) -> Self {
        Self { inner, path: path.to_owned(), plan, poison: Poison::default() }
    }

    fn check(&self, call: Call) -> Result<(), Fatal> {
        match self.plan.strike(call) {
            None => Ok(()),
            Some(error) => {
                let doing = format!("{call:?}, made to fail");
                Err(self.poison.set(Fatal::io(&self.path, &doing, &error)))
            }
        }
    }

    fn check_write(&self, call: Call) -> Result<(), Fatal> {
        self.poison.check()?;
        self.check(call)
    }
}

impl<E: Engine> Engine for FailingEngine<E> {
    fn apply(&self, batch: Batch) -> Result<(), Fatal> {
        self.check_write(Call::Apply)?;
        self.inner.apply(batch)
    }

    fn load(&self, family: Family, pairs: Vec<(Bytes, Bytes)>) -> Result<(), Fatal> {
        self.check_write(Call::Load)?;
        self.inner.load(family, pairs)
    }

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, Fatal> {
        self.check(Call::Get)?;
        self.inner.get(family, key)
    }

    fn scan(&self, family: Family, bounds: Bounds, order: Order) -> Scan<'_> {
        match self.check(Call::Scan) {
            Ok(()) => self.inner.scan(family, bounds, order),
            Err(fatal) => Box::new(std::iter::once(Err(fatal))),
        }
    }

    fn persist(&self) -> Result<LogIndex, Fatal> {
        self.check_write(Call::Persist)?;
        self.inner.persist()
    }

    fn applied(&self) -> LogIndex {
        self.inner.applied()
    }

    fn sizes(&self) -> Sizes {
        self.inner.sizes()
    }

    fn is_congested(&self) -> bool {
        self.inner.is_congested()
    }

    fn maintain(&self, budget: Budget) -> Result<bool, Fatal> {
        self.check_write(Call::Maintain)?;
        self.inner.maintain(budget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::conformance::{EVERYTHING, batch};
    use crate::engine::mem::MemEngine;

    #[test]
    fn each_call_fails_once_and_writes_are_over() {
        for call in Call::ALL {
            let plan = Plan::default();
            let engine = FailingEngine::new(MemEngine::new(), Path::new("dir"), plan.clone());
            let carry_out = |call| match call {
                Call::Apply => engine.apply(batch(1, vec![])),
                Call::Load => engine.load(Family::State, vec![]),
                Call::Persist => engine.persist().map(drop),
                Call::Get => engine.get(Family::State, b"k").map(drop),
                Call::Scan => engine
                    .scan(Family::State, EVERYTHING, Order::Ascending)
                    .try_for_each(|pair| pair.map(drop)),
                Call::Maintain => engine.maintain(Budget { bytes: 1 }).map(drop),
            };
            plan.fail(call, 2, Fault::NoSpace);
            carry_out(call).expect("the first one succeeds");
            let fatal = carry_out(call).expect_err("the second one fails");
            assert!(plan.has_struck());
            assert!(matches!(fatal, Fatal::Io { no_space: true, .. }), "{fatal}");
            assert!(fatal.to_string().contains("dir"), "{fatal}");
            assert!(carry_out(Call::Apply).is_err(), "a write after {call:?} failed");
        }
    }
}
