//! Many worlds, on all cores: one world per thread at a time.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZero;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use super::coverage::Coverage;
use super::run::{Report, run};
use super::shape::Shape;

/// From so many seeds on, a fault that was never injected is a failure of the run itself.
pub const LONG: u64 = 300;

/// What came of many worlds.
#[derive(Debug, Default)]
pub struct Summary {
    /// Worlds run.
    pub worlds: u64,
    /// Worlds in which something happened that must not, by seed.
    pub failed: Vec<Report>,
    /// What all of them came across.
    pub coverage: Coverage,
    /// Operations that clients began.
    pub operations: usize,
    /// Virtual time of all worlds.
    pub virtual_time: Duration,
    /// Over the hashes of all worlds, in the order of their seeds.
    pub hash: u64,
}

impl Summary {
    /// What a run of this length should have come across and did not.
    pub fn missing(&self) -> Vec<String> {
        if self.worlds < LONG { Vec::new() } else { self.coverage.missing() }
    }

    /// Whether nothing is wrong, the run's own reach included.
    pub fn passed(&self) -> bool {
        self.failed.is_empty() && self.missing().is_empty()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.coverage)?;
        writeln!(
            f,
            "worlds: {}, operations: {}, virtual time: {:.1} h, hash: {:016x}",
            self.worlds,
            self.operations,
            self.virtual_time.as_secs_f64() / 3600.0,
            self.hash
        )?;
        for missing in self.missing() {
            writeln!(f, "this run is not worth much: {missing}")?;
        }
        writeln!(f, "worlds with violations: {}", self.failed.len())
    }
}

/// Runs the world of one seed; a panic of the world itself is a violation, too, where it can be
/// caught.
pub fn run_seed(seed: u64) -> Report {
    let shape = Shape::of(seed);
    catch_unwind(AssertUnwindSafe(|| run(&shape))).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Report {
            seed,
            violations: vec![format!("the world panicked: {}", text.unwrap_or_default())],
            coverage: Coverage::default(),
            events: Vec::new(),
            hash: 0,
            operations: 0,
            took: Duration::ZERO,
        }
    })
}

/// Runs the worlds of `seeds`; `done` hears of each, on the thread that ran it.
pub fn run_all(
    seeds: Range<u64>,
    threads: Option<NonZero<usize>>,
    begun: impl Fn(u64) + Sync,
    done: impl Fn(&Report) + Sync,
) -> Summary {
    let threads = threads.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZero::get);
    let next = AtomicU64::new(seeds.start);
    let results = Mutex::new((Summary::default(), Vec::new()));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    begun(seed);
                    let report = run_seed(seed);
                    done(&report);
                    let (summary, hashes) = &mut *results.lock();
                    summary.worlds += 1;
                    summary.operations += report.operations;
                    summary.virtual_time += report.took;
                    summary.coverage.merge(&report.coverage);
                    hashes.push((seed, report.hash));
                    if !report.violations.is_empty() {
                        summary.failed.push(report);
                    }
                }
            });
        }
    });
    let (mut summary, mut hashes) = results.into_inner();
    summary.failed.sort_by_key(|report| report.seed);
    hashes.sort_unstable();
    let mut hasher = DefaultHasher::new();
    hashes.hash(&mut hasher);
    summary.hash = hasher.finish();
    summary
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::coverage::{Fault, Reached};

    /// A run that came across everything but these.
    fn without(worlds: u64, fault: Option<Fault>, reached: Option<Reached>) -> Summary {
        let summary = Summary { worlds, ..Summary::default() };
        for injected in Fault::ALL.iter().filter(|one| Some(**one) != fault) {
            summary.coverage.inject(*injected);
        }
        for found in Reached::ALL.iter().filter(|one| Some(**one) != reached) {
            summary.coverage.reach(*found);
        }
        summary
    }

    #[test]
    fn a_long_run_that_came_across_too_little_has_not_passed() {
        assert!(without(LONG, None, None).passed());
        for missing in Fault::ALL {
            let run = without(LONG, Some(*missing), None);
            assert!(!run.passed(), "{missing}");
            assert!(run.to_string().contains(&format!("never injected: {missing}")));
            assert!(without(LONG - 1, Some(*missing), None).passed(), "a short one need not");
        }
        for missing in Reached::ALL {
            let run = without(LONG, None, Some(*missing));
            assert!(!run.passed(), "{missing}");
            assert!(run.to_string().contains(&format!("never reached: {missing}")));
        }
    }
}
