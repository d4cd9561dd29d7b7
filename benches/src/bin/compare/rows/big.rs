//! All rows on the store of a million keys (100,000 in a quick run), which is filled once per side.

use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::process::Signal;
use tokio::time::sleep;
use vetch_benches::dataset::Values;

use super::gaps::{self, Disturbance, beside_puts};
use super::put::VALUE;
use super::range;
use crate::args::Group;
use crate::bench::Bench;
use crate::connection::Connection;
use crate::fill::fill;
use crate::load::as_f64;
use crate::metric::Metric;
use crate::procfs::{self, RssSampler};
use crate::server::Server;

/// Keys of the small store that pages and counts are compared with.
const FEW: u64 = 1_000;
/// After filling, before memory and disk are called "at rest".
const REST: Duration = Duration::from_secs(5);

/// Whether any of the groups asked for needs the big store.
pub(crate) fn wanted(bench: &Bench) -> bool {
    [Group::Range, Group::Memory, Group::Restart, Group::Gaps]
        .into_iter()
        .any(|group| bench.args.wants(group))
}

pub(crate) async fn all(bench: &mut Bench) -> Result<()> {
    let mut servers = bench.start().await?;
    for server in &mut servers {
        fill_big(bench, server).await.map_err(|error| server.explain(error))?;
    }
    if bench.args.wants(Group::Range) {
        ranges(bench, &mut servers).await?;
    }
    if bench.args.wants(Group::Gaps) {
        readers(bench, &mut servers).await?;
    }
    if bench.args.wants(Group::Restart) {
        restarts(bench, &mut servers).await?;
    }
    if bench.args.wants(Group::Memory) || bench.args.wants(Group::Gaps) {
        for server in &mut servers {
            compaction(bench, server).await.map_err(|error| server.explain(error))?;
        }
    }
    if bench.args.wants(Group::Gaps) {
        defragmentation(bench, &mut servers).await?;
    }
    Ok(())
}

async fn fill_big(bench: &mut Bench, server: &Server) -> Result<()> {
    let start = Instant::now();
    let memory = RssSampler::start(server.pid()?);
    fill(server.address(), bench.args.big(), 1, &Values::new(VALUE)).await?;
    bench.record(Metric::FillTime, server, start.elapsed().as_secs_f64());
    sleep(REST).await;
    let highest = memory.finish()?;
    if bench.args.wants(Group::Memory) {
        bench.record(Metric::RssAny, server, megabytes(highest));
        bench.record(Metric::RssRest, server, megabytes(procfs::rss(server.pid()?)?));
        bench.record(Metric::DiskFilled, server, megabytes(procfs::disk(&server.data())?));
    }
    Ok(())
}

async fn ranges(bench: &mut Bench, servers: &mut [Server]) -> Result<()> {
    let mut few = bench.start().await?;
    for server in &mut few {
        let filled = fill(server.address(), FEW, 1, &Values::new(VALUE)).await;
        filled.map_err(|error| server.explain(error))?;
    }
    for _ in 0..bench.args.rounds() {
        for (small, big) in few.iter_mut().zip(&mut *servers) {
            range_round(bench, small, big).await.map_err(|error| big.explain(error))?;
        }
    }
    Ok(())
}

async fn range_round(bench: &mut Bench, small: &Server, big: &Server) -> Result<()> {
    let (many, round) = (bench.args.big(), bench.args.round());
    let page_small = range::pages(small, FEW, round).await?.latency(0.5);
    let page_big = range::pages(big, many, round).await?.latency(0.5);
    bench.record(Metric::PageSmall, small, page_small);
    bench.record(Metric::PageBig, big, page_big);
    bench.record(Metric::PageGrowth, big, page_big / page_small);
    let count_small = range::counts(small, FEW, round).await?.latency(0.5);
    let count_big = range::counts(big, many, round).await?.latency(0.5);
    bench.record(Metric::CountSmall, small, count_small);
    bench.record(Metric::CountBig, big, count_big);
    bench.record(Metric::CountGrowth, big, count_big / count_small);
    Ok(())
}

/// Steady puts alone, beside the unlimited list, beside a snapshot.
async fn readers(bench: &mut Bench, servers: &mut [Server]) -> Result<()> {
    let keys = bench.args.big();
    for _ in 0..bench.args.heavy_rounds() {
        for server in &mut *servers {
            let quiet = async |_: &Connection| {
                sleep(Duration::from_secs(1)).await;
                Ok(())
            };
            let list = async |connection: &Connection| gaps::list(connection, keys).await;
            let snapshot = async |connection: &Connection| gaps::snapshot(connection, keys).await;
            let round = async {
                disturb(bench, server, quiet, Metric::GapNone, None, None).await?;
                let [gap, time] = [Metric::GapList, Metric::ListTime];
                disturb(bench, server, list, gap, Some(time), Some(Metric::RssList)).await?;
                let [gap, time] = [Metric::GapSnapshot, Metric::SnapshotTime];
                disturb(bench, server, snapshot, gap, Some(time), Some(Metric::RssAny)).await
            };
            let result = round.await;
            result.map_err(|error| server.explain(error))?;
        }
    }
    Ok(())
}

async fn disturb(
    bench: &mut Bench,
    server: &Server,
    request: impl AsyncFn(&Connection) -> Result<()>,
    gap: Metric,
    time: Option<Metric>,
    memory: Option<Metric>,
) -> Result<()> {
    let sampler = RssSampler::start(server.pid()?);
    let Disturbance { took, longest_gap } = beside_puts(server, request).await?;
    let highest = sampler.finish()?;
    bench.record(gap, server, longest_gap.as_secs_f64() * 1e3);
    if let Some(time) = time {
        bench.record(time, server, took.as_secs_f64());
    }
    if let Some(memory) = memory.filter(|_| bench.args.wants(Group::Memory)) {
        bench.record(memory, server, megabytes(highest));
    }
    Ok(())
}

async fn restarts(bench: &mut Bench, servers: &mut [Server]) -> Result<()> {
    let endings = [(Signal::TERM, Metric::Restart), (Signal::KILL, Metric::RestartKilled)];
    for _ in 0..bench.args.heavy_rounds() {
        for server in &mut *servers {
            for (signal, metric) in endings {
                server.end(signal).await?;
                let took = server.run().await?;
                bench.record(metric, server, took.as_secs_f64());
            }
        }
    }
    Ok(())
}

/// A third of all keys get a second version, then history is compacted.
async fn compaction(bench: &mut Bench, server: &Server) -> Result<()> {
    let sampler = RssSampler::start(server.pid()?);
    fill(server.address(), bench.args.big(), 3, &Values::new(VALUE)).await?;
    let Disturbance { took, longest_gap } = beside_puts(server, gaps::compact).await?;
    sleep(REST).await;
    let highest = megabytes(sampler.finish()?);
    bench.record(Metric::CompactionTime, server, took.as_secs_f64());
    if bench.args.wants(Group::Gaps) {
        bench.record(Metric::GapCompaction, server, longest_gap.as_secs_f64() * 1e3);
    }
    if bench.args.wants(Group::Memory) {
        bench.record(Metric::RssCompaction, server, highest);
        bench.record(Metric::RssAny, server, highest);
        bench.record(Metric::DiskCompacted, server, megabytes(procfs::disk(&server.data())?));
    }
    Ok(())
}

async fn defragmentation(bench: &mut Bench, servers: &mut [Server]) -> Result<()> {
    for _ in 0..bench.args.heavy_rounds() {
        for server in &mut *servers {
            let [gap, time] = [Metric::GapDefragment, Metric::DefragmentTime];
            let round =
                disturb(bench, server, gaps::defragment, gap, Some(time), Some(Metric::RssAny));
            let result = round.await;
            result.map_err(|error| server.explain(error))?;
        }
    }
    Ok(())
}

fn megabytes(bytes: u64) -> f64 {
    as_f64(bytes) / 1e6
}
