//! Linearizable gets of one key, random among 10,000 of 256 bytes.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use vetch_benches::dataset::key;
use vetch_proto::etcdserverpb::RangeRequest;

use super::put::{KEYS, VALUE, prepare};
use crate::bench::Bench;
use crate::cluster::Cluster;
use crate::connection::connect;
use crate::load::{Load, closed_loop};
use crate::metric::Metric;

const CLIENTS: usize = 64;

pub(crate) async fn many_clients(bench: &mut Bench) -> Result<()> {
    bench
        .closed_loops(
            1,
            prepare,
            async |cluster, duration| load(cluster, &cluster.addresses(), duration).await,
            &[(Metric::GetRate, Load::rate), (Metric::GetCpu, Load::cpu_per_operation)],
        )
        .await
}

/// 64 clients, spread over the members at `addresses`.
pub(crate) async fn load(
    cluster: &Cluster,
    addresses: &[SocketAddr],
    duration: Duration,
) -> Result<Load> {
    let connections = connect(addresses, CLIENTS).await?;
    let clients = (0..).zip(&connections);
    let clients = clients.map(|(seed, c)| (c.kv(), SmallRng::seed_from_u64(seed))).collect();
    closed_loop(&cluster.pids()?, clients, duration, async |(client, random)| {
        let get = RangeRequest { key: key(random.random_range(0..KEYS)), ..Default::default() };
        let answer = client.range(get).await?.into_inner();
        ensure!(answer.kvs.len() == 1 && answer.kvs[0].value.len() == VALUE, "a key is missing");
        Ok(())
    })
    .await
}
