//! A steady writer on a thread of its own, that finds how long puts had to wait.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use hdrhistogram::Histogram;
use tokio::task::LocalSet;
use tokio::time::{MissedTickBehavior, interval};
use vetch_benches::dataset::{Values, key};
use vetch_proto::etcdserverpb::PutRequest;

use super::put::VALUE;
use crate::connection::Connection;
use crate::load::{histogram, nanoseconds};

/// Between puts, whether or not the last is answered.
const PACE: Duration = Duration::from_millis(2);
/// Puts whose times do not count: the first on a new connection.
const WARM_UP: u64 = 100;

/// Puts every 2 ms over the first thousand keys.
#[derive(Debug)]
pub(crate) struct Putter {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Waits>>,
}

/// How long puts had to wait.
#[derive(Clone, Debug)]
pub(crate) struct Waits {
    /// The longest put gap: the longest time between two acknowledgements, or from a put to its own,
    /// whichever is more.
    pub(crate) longest: Duration,
    /// Nanoseconds from a put to its acknowledgement.
    pub(crate) latency: Histogram<u64>,
}

impl Putter {
    pub(crate) fn start(server: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            LocalSet::new().block_on(&runtime, write(server, &stopped))
        });
        Self { stop, thread }
    }

    /// Ends the puts and waits for all that is under way.
    pub(crate) async fn finish(self) -> Result<Waits> {
        self.stop.store(true, Ordering::Relaxed);
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await?;
        match joined {
            Ok(waits) => waits.context("steady puts"),
            Err(_) => bail!("the putter panicked"),
        }
    }
}

/// What has been seen so far.
#[derive(Debug)]
struct Trace {
    last: Option<Instant>,
    longest: Duration,
    acknowledged: u64,
    latency: Histogram<u64>,
}

impl Trace {
    fn new() -> Result<Self> {
        let latency = histogram()?;
        Ok(Self { last: None, longest: Duration::ZERO, acknowledged: 0, latency })
    }

    fn acknowledge(&mut self, number: u64, sent: Instant, now: Instant) {
        self.acknowledged += 1;
        if number < WARM_UP {
            return;
        }
        let gap = self.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        let waited = now.duration_since(sent);
        self.longest = self.longest.max(gap).max(waited);
        self.latency.saturating_record(nanoseconds(waited));
        self.last = Some(now);
    }
}

async fn write(server: SocketAddr, stop: &AtomicBool) -> Result<Waits> {
    let client = Connection::open(server).await?.kv();
    let values = Values::new(VALUE);
    let trace = Rc::new(RefCell::new(Trace::new()?));
    let mut ticks = interval(PACE);
    // A late tick is not made up for: the distance to the next stays, and counts as a gap if the
    // writer itself was kept from running.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut puts = Vec::new();
    for number in 0.. {
        ticks.tick().await;
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let mut client = client.clone();
        let put = PutRequest {
            key: key(number % 1_000),
            value: values.get(number),
            ..PutRequest::default()
        };
        let trace = Rc::clone(&trace);
        puts.push(tokio::task::spawn_local(async move {
            let sent = Instant::now();
            client.put(put).await?;
            trace.borrow_mut().acknowledge(number, sent, Instant::now());
            anyhow::Ok(())
        }));
    }
    let sent = puts.len() as u64;
    for put in puts {
        put.await??;
    }
    let trace = trace.borrow();
    ensure!(trace.acknowledged == sent && sent > WARM_UP, "{sent} puts are too few");
    Ok(Waits { longest: trace.longest, latency: trace.latency.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_is_between_answers_or_a_puts_own_latency() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut trace = Trace::new().unwrap();
        trace.acknowledge(0, at(0), at(900)); // warm-up
        trace.acknowledge(WARM_UP, at(901), at(902));
        trace.acknowledge(WARM_UP + 1, at(903), at(910));
        assert_eq!(trace.longest, Duration::from_millis(8));
        trace.acknowledge(WARM_UP + 3, at(911), at(912));
        trace.acknowledge(WARM_UP + 2, at(902), at(913)); // overtaken
        assert_eq!(trace.longest, Duration::from_millis(11));
    }
}
