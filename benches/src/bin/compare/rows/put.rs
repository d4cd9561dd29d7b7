//! Puts of 256 bytes over 10,000 existing keys.

use std::time::Duration;

use anyhow::Result;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use vetch_benches::dataset::{Values, key};
use vetch_proto::etcdserverpb::PutRequest;

use crate::bench::Bench;
use crate::cluster::Cluster;
use crate::connection::connect;
use crate::fill::fill;
use crate::load::{Load, closed_loop};
use crate::metric::Metric;

/// Keys written and read by the closed loops.
pub(crate) const KEYS: u64 = 10_000;

/// Bytes of a value, but for the transactions'.
pub(crate) const VALUE: usize = 256;

pub(crate) async fn one_client(bench: &mut Bench) -> Result<()> {
    bench
        .closed_loops(
            1,
            prepare,
            async |cluster, duration| load(cluster, 1, duration).await,
            &[
                (Metric::Put1P50, |load| load.latency(0.5)),
                (Metric::Put1P99, |load| load.latency(0.99)),
            ],
        )
        .await
}

pub(crate) async fn many_clients(bench: &mut Bench) -> Result<()> {
    bench
        .closed_loops(
            1,
            prepare,
            async |cluster, duration| load(cluster, 256, duration).await,
            &[
                (Metric::Put256Rate, Load::rate),
                (Metric::Put256Cpu, Load::cpu_per_operation),
                (Metric::Put256P99, |load| load.latency(0.99)),
            ],
        )
        .await
}

pub(crate) async fn prepare(cluster: &Cluster) -> Result<()> {
    fill(cluster.leader().address(), KEYS, 1, &Values::new(VALUE)).await
}

/// Puts at the leader.
pub(crate) async fn load(cluster: &Cluster, clients: usize, duration: Duration) -> Result<Load> {
    let connections = connect(&[cluster.leader().address()], clients).await?;
    let clients = (0..).zip(&connections);
    let clients = clients.map(|(seed, c)| (c.kv(), SmallRng::seed_from_u64(seed))).collect();
    let values = Values::new(VALUE);
    closed_loop(&cluster.pids()?, clients, duration, async move |(client, random)| {
        let number = random.random_range(0..KEYS);
        let value = values.get(random.random());
        let put = PutRequest { key: key(number), value, ..PutRequest::default() };
        client.put(put).await?;
        Ok(())
    })
    .await
}
