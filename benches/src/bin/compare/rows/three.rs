//! The closed loops of [`put`] and [`get`] on three members, on the same machine.

use anyhow::Result;

use super::{get, put};
use crate::bench::Bench;
use crate::load::Load;
use crate::metric::Metric;

/// Members.
pub(super) const SIZE: usize = 3;

pub(crate) async fn put_by_one(bench: &mut Bench) -> Result<()> {
    bench
        .closed_loops(
            SIZE,
            put::prepare,
            async |cluster, duration| put::load(cluster, 1, duration).await,
            &[
                (Metric::ThreePut1P50, |load| load.latency(0.5)),
                (Metric::ThreePut1P99, |load| load.latency(0.99)),
                (Metric::ThreePut1Cpu, Load::cpu_per_operation),
            ],
        )
        .await
}

pub(crate) async fn put_by_many(bench: &mut Bench) -> Result<()> {
    bench
        .closed_loops(
            SIZE,
            put::prepare,
            async |cluster, duration| put::load(cluster, 64, duration).await,
            &[
                (Metric::ThreePut64Rate, Load::rate),
                (Metric::ThreePut64Cpu, Load::cpu_per_operation),
                (Metric::ThreePut64P99, |load| load.latency(0.99)),
            ],
        )
        .await
}

/// Gets at the leader, and at all members.
pub(crate) async fn get_by_many(bench: &mut Bench) -> Result<()> {
    bench
        .closed_loops(
            SIZE,
            put::prepare,
            async |cluster, duration| {
                get::load(cluster, &[cluster.leader().address()], duration).await
            },
            &[(Metric::ThreeGetRate, Load::rate), (Metric::ThreeGetCpu, Load::cpu_per_operation)],
        )
        .await?;
    bench
        .closed_loops(
            SIZE,
            put::prepare,
            async |cluster, duration| get::load(cluster, &cluster.addresses(), duration).await,
            &[(Metric::ThreeGetSpreadRate, Load::rate)],
        )
        .await
}
