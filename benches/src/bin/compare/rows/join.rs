//! A fourth member joins as a learner and has to be sent the whole store, beside steady puts.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use tokio::time::sleep;
use vetch_benches::dataset::Values;

use super::putter::{Putter, Waits};
use super::three::SIZE;
use crate::bench::Bench;
use crate::cluster::{Cluster, status};
use crate::fill::fill_in_batches;
use crate::load::microseconds;
use crate::metric::Metric;
use crate::server::{Program, Server};

/// Bytes of a value: with the keys a little more than 1 GiB.
const VALUE: usize = 1024;
/// Puts per transaction: so many log entries that the beginning of the log is gone when the member
/// joins, and it cannot be sent the log instead.
const BATCH: u64 = 16;
/// Steady puts with which those beside the join are compared, in rounds of other rows: about as long as
/// the join takes, or a single stall of the disk would decide the p99 of the few.
const UNDISTURBED_ROUNDS: u32 = 7;
/// Steady puts before the member is added.
const BESIDE: Duration = Duration::from_millis(700);

pub(crate) async fn new_member(bench: &mut Bench) -> Result<()> {
    let mut clusters = bench.start_clusters(SIZE).await?;
    for cluster in &mut clusters {
        let leader = cluster.leader().address();
        let filled =
            fill_in_batches(leader, bench.args.sent(), 1, &Values::new(VALUE), BATCH).await;
        filled.map_err(|error| cluster.explain(error))?;
        let at_rest = cluster.come_to_rest().await;
        at_rest.map_err(|error| cluster.explain(error))?;
    }
    for _ in 0..bench.args.heavy_rounds() {
        for (program, cluster) in bench.programs.clone().iter().zip(&mut clusters) {
            let undisturbed = UNDISTURBED_ROUNDS * bench.args.round();
            let joined = round(program, cluster, undisturbed).await;
            let Joined { took, before, during } = joined.map_err(|error| cluster.explain(error))?;
            let [before, during] = [before, during].map(|waits| microseconds(&waits.latency, 0.99));
            let side = cluster.side();
            bench.report.record(Metric::ThreeJoinTime, side, took.as_secs_f64());
            bench.report.record(Metric::ThreeJoinBefore, side, before);
            bench.report.record(Metric::ThreeJoinDuring, side, during);
            bench.report.record(Metric::ThreeJoinRise, side, during / before);
        }
    }
    Ok(())
}

struct Joined {
    /// From before the member was added until it had all that the leader had.
    took: Duration,
    before: Waits,
    during: Waits,
}

async fn round(program: &Program, cluster: &mut Cluster, undisturbed: Duration) -> Result<Joined> {
    cluster.find_leader().await?;
    let leader = cluster.leader().address();
    let putter = Putter::start(leader);
    sleep(undisturbed).await;
    let before = putter.finish().await?;
    let putter = Putter::start(leader);
    sleep(BESIDE).await;
    let start = Instant::now();
    let (mut learner, id) = cluster.add_learner(program).await?;
    caught_up(leader, &mut learner, start).await?;
    let took = start.elapsed();
    let during = putter.finish().await?;
    learner.end(Signal::KILL).await?;
    cluster.remove(id).await?;
    Ok(Joined { took, before, during })
}

/// Waits until the learner has applied what the leader had applied just before.
async fn caught_up(leader: SocketAddr, learner: &mut Server, start: Instant) -> Result<()> {
    loop {
        let goal = revision(leader).await?;
        let behind = match revision(learner.address()).await {
            Ok(applied) if applied >= goal => return Ok(()),
            Ok(applied) => anyhow::anyhow!("the learner is at revision {applied} of {goal}"),
            Err(error) => error,
        };
        learner.wait_a_little(start, behind).await?;
        sleep(Duration::from_millis(20)).await;
    }
}

async fn revision(member: SocketAddr) -> Result<i64> {
    Ok(status(member).await?.header.context("no header")?.revision)
}
