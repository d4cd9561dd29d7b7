//! The leader is killed, or stopped in order, under puts through the members that stay.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{MissedTickBehavior, interval, sleep};
use vetch_benches::dataset::{Values, key};
use vetch_proto::etcdserverpb::PutRequest;

use super::put::{KEYS, VALUE, prepare};
use super::three::SIZE;
use crate::bench::Bench;
use crate::cluster::Cluster;
use crate::connection::Connection;
use crate::metric::Metric;

/// Between puts, whether or not the last is answered.
const PACE: Duration = Duration::from_millis(5);
/// Puts before the leader ends.
const BEFORE: Duration = Duration::from_secs(1);
/// And for at least this long after it.
const AFTER: Duration = Duration::from_secs(4);
/// A cluster that does not acknowledge for so long after its leader has ended is broken.
const PATIENCE: Duration = Duration::from_mins(1);
/// Puts are acknowledged again when the last acknowledgement is not older than this.
const RECENT: Duration = Duration::from_millis(50);

/// SIGKILL: the others notice by themselves.
pub(crate) async fn leader(bench: &mut Bench) -> Result<()> {
    end_leader(bench, Signal::KILL, Metric::ThreeKillGap).await
}

/// SIGTERM, as in a rolling restart: it may hand over first.
pub(crate) async fn stop_leader(bench: &mut Bench) -> Result<()> {
    end_leader(bench, Signal::TERM, Metric::ThreeStopGap).await
}

async fn end_leader(bench: &mut Bench, signal: Signal, gap: Metric) -> Result<()> {
    let mut clusters = bench.start_clusters(SIZE).await?;
    for cluster in &mut clusters {
        prepare(cluster).await.map_err(|error| cluster.explain(error))?;
    }
    for _ in 0..bench.args.rounds() {
        for cluster in &mut clusters {
            let longest = round(cluster, signal).await.map_err(|error| cluster.explain(error))?;
            bench.report.record(gap, cluster.side(), longest.as_secs_f64() * 1e3);
        }
    }
    Ok(())
}

/// The longest time between two acknowledgements. The member that ended is back when this returns.
async fn round(cluster: &mut Cluster, signal: Signal) -> Result<Duration> {
    cluster.find_leader().await?;
    let puts = Puts::start(&cluster.followers()).await?;
    sleep(BEFORE).await;
    let ended = Instant::now();
    ensure!(puts.last().is_some(), "no put was acknowledged in {BEFORE:?}");
    cluster.leader_mut().end(signal).await?;
    while ended.elapsed() < AFTER || puts.last().is_none_or(|last| last.elapsed() > RECENT) {
        ensure!(ended.elapsed() < PATIENCE, "no put is acknowledged since the leader is gone");
        sleep(RECENT / 5).await;
    }
    let gap = puts.longest_gap().context("no two puts were acknowledged")?;
    drop(puts);
    cluster.leader_mut().run().await?;
    Ok(gap)
}

/// Puts of which some are lost with the leader. Dropping it ends them.
#[derive(Debug)]
struct Puts {
    acknowledged: Rc<RefCell<Vec<Instant>>>,
    task: JoinHandle<()>,
}

impl Puts {
    /// One every 5 ms, at the servers in turn.
    async fn start(servers: &[SocketAddr]) -> Result<Self> {
        let mut clients = Vec::new();
        for server in servers {
            clients.push(Connection::open(*server).await?.kv());
        }
        let acknowledged = Rc::new(RefCell::new(Vec::new()));
        let seen = Rc::clone(&acknowledged);
        let task = spawn_local(async move {
            let values = Values::new(VALUE);
            let mut ticks = interval(PACE);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for (number, client) in (0..).zip(clients.iter().cycle()) {
                ticks.tick().await;
                let (mut client, seen) = (client.clone(), Rc::clone(&seen));
                let (key, value) = (key(number % KEYS), values.get(number));
                spawn_local(async move {
                    let put = PutRequest { key, value, ..PutRequest::default() };
                    // What was under way when the leader ended may fail, or never be answered.
                    if client.put(put).await.is_ok() {
                        seen.borrow_mut().push(Instant::now());
                    }
                });
            }
        });
        Ok(Self { acknowledged, task })
    }

    fn last(&self) -> Option<Instant> {
        self.acknowledged.borrow().last().copied()
    }

    fn longest_gap(&self) -> Option<Duration> {
        let times = self.acknowledged.borrow();
        times.windows(2).map(|pair| pair[1].duration_since(pair[0])).max()
    }
}

impl Drop for Puts {
    fn drop(&mut self) {
        self.task.abort();
    }
}
