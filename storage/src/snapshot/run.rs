//! Received pairs on their way into the engine.

use bytes::Bytes;

use super::ImportError;
use crate::engine::{Engine, Family};

/// Pairs that wait until there are enough of them. A sender reads family by family in key order, which
/// is what [`Engine::load`] asks for.
#[derive(Debug)]
pub(super) struct Run {
    /// As many bytes as it may gather.
    budget: usize,
    /// Of one family.
    pairs: Vec<(Bytes, Bytes)>,
    bytes: usize,
    family: Option<Family>,
    /// The last key of each family; empty before the first.
    last: [Bytes; Family::ALL.len()],
}

impl Run {
    pub(super) fn new(budget: usize) -> Self {
        Self { budget, pairs: Vec::new(), bytes: 0, family: None, last: Default::default() }
    }

    /// Takes a pair in.
    pub(super) fn add<E: Engine>(
        &mut self,
        engine: &E,
        family: Family,
        key: Bytes,
        value: Bytes,
    ) -> Result<(), ImportError> {
        let last = &mut self.last[family.slot()];
        if key <= *last {
            return Err(ImportError::Unsorted { family });
        }
        *last = key.clone();
        if self.family != Some(family) || self.bytes >= self.budget {
            self.load(engine)?;
            self.family = Some(family);
        }
        self.bytes += key.len() + value.len();
        self.pairs.push((key, value));
        Ok(())
    }

    /// Gives the engine what waits.
    pub(super) fn load<E: Engine>(&mut self, engine: &E) -> Result<(), ImportError> {
        let Some(family) = self.family.take() else { return Ok(()) };
        self.bytes = 0;
        Ok(engine.load(family, std::mem::take(&mut self.pairs))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Order;
    use crate::engine::conformance::{EVERYTHING, collect};
    use crate::engine::mem::MemEngine;

    #[test]
    fn pairs_reach_the_engine_in_runs_and_in_order_only() {
        let (engine, mut run) = (MemEngine::new(), Run::new(10));
        let mut add = |family, key: &'static str| {
            run.add(&engine, family, Bytes::from(key), Bytes::from("12345678"))
        };
        let held = |family| collect(&engine, family, EVERYTHING, Order::Ascending).len();
        add(Family::Revisions, "a").unwrap();
        add(Family::Revisions, "b").unwrap();
        assert_eq!(held(Family::Revisions), 0);
        add(Family::Revisions, "c").unwrap();
        assert_eq!(held(Family::Revisions), 2);
        add(Family::Versions, "a").unwrap();
        assert_eq!(held(Family::Revisions), 3);
        for key in ["c", "b", ""] {
            let refused = add(Family::Revisions, key).unwrap_err();
            assert!(matches!(refused, ImportError::Unsorted { family: Family::Revisions }));
        }
        assert_eq!(held(Family::Versions), 0);
        run.load(&engine).unwrap();
        assert_eq!(held(Family::Versions), 1);
    }
}
