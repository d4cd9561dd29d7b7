//! Closed loops: clients that send the next request when the last is answered.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;

use crate::procfs;

/// What a closed loop did.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) operations: u64,
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
    /// CPU time of all servers meanwhile.
    pub(crate) cpu: Duration,
    latency: Histogram<u64>,
}

impl Load {
    /// Operations per second.
    pub(crate) fn rate(&self) -> f64 {
        as_f64(self.operations) / self.elapsed.as_secs_f64()
    }

    /// Microseconds of all servers' CPU time per operation.
    pub(crate) fn cpu_per_operation(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / as_f64(self.operations)
    }

    /// Latency at `quantile`, in microseconds.
    pub(crate) fn latency(&self, quantile: f64) -> f64 {
        microseconds(&self.latency, quantile)
    }
}

/// The value at `quantile` of a histogram of nanoseconds, in microseconds.
pub(crate) fn microseconds(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    as_f64(histogram.value_at_quantile(quantile)) / 1e3
}

/// A histogram for nanoseconds up to an hour, to three digits.
pub(crate) fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 3_600_000_000_000, 3)?)
}

/// Nanoseconds, for a histogram.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "figures for a table; 53 bits are plenty")]
pub(crate) fn as_f64(count: u64) -> f64 {
    count as f64
}

/// Every client repeats `operation` for `duration`; the first failure fails the load. Operations
/// under way at the end are waited for and counted. `pids` are the processes whose CPU time counts.
/// Call it inside a `LocalSet`.
pub(crate) async fn closed_loop<C, F>(
    pids: &[u32],
    clients: Vec<C>,
    duration: Duration,
    operation: F,
) -> Result<Load>
where
    C: 'static,
    F: AsyncFn(&mut C) -> Result<()> + 'static,
{
    let operation = Rc::new(operation);
    let latency = Rc::new(RefCell::new(histogram()?));
    let cpu = procfs::cpu(pids)?;
    let start = Instant::now();
    let tasks: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            let operation = Rc::clone(&operation);
            let latency = Rc::clone(&latency);
            tokio::task::spawn_local(async move {
                let mut sent = Instant::now();
                while sent.duration_since(start) < duration {
                    operation(&mut client).await?;
                    let answered = Instant::now();
                    let took = nanoseconds(answered.duration_since(sent));
                    latency.borrow_mut().saturating_record(took);
                    sent = answered;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await.context("a client task died")??;
    }
    let elapsed = start.elapsed();
    let cpu = procfs::cpu(pids)?.saturating_sub(cpu);
    let latency = latency.borrow().clone();
    ensure!(!latency.is_empty(), "no operation was answered in {duration:?}");
    Ok(Load { operations: latency.len(), elapsed, cpu, latency })
}
