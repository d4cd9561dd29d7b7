//! Linearizable gets of one key, random among 10,000 of 256 bytes.

use std::time::Duration;

use anyhow::{Result, ensure};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use vetch_benches::dataset::key;
use vetch_proto::etcdserverpb::RangeRequest;

use super::put::{KEYS, VALUE, prepare};
use crate::bench::Bench;
use crate::connection::connect;
use crate::load::{Load, closed_loop};
use crate::metric::Metric;
use crate::server::Server;

const CLIENTS: usize = 64;

pub(crate) async fn many_clients(bench: &mut Bench) -> Result<()> {
    bench
        .closed_loops(
            prepare,
            load,
            &[(Metric::GetRate, Load::rate), (Metric::GetCpu, Load::cpu_per_operation)],
        )
        .await
}

async fn load(server: &Server, duration: Duration) -> Result<Load> {
    let connections = connect(server.address(), CLIENTS).await?;
    let clients = (0..).zip(&connections);
    let clients = clients.map(|(seed, c)| (c.kv(), SmallRng::seed_from_u64(seed))).collect();
    closed_loop(server.pid()?, clients, duration, async |(client, random)| {
        let get = RangeRequest { key: key(random.random_range(0..KEYS)), ..Default::default() };
        let answer = client.range(get).await?.into_inner();
        ensure!(answer.kvs.len() == 1 && answer.kvs[0].value.len() == VALUE, "a key is missing");
        Ok(())
    })
    .await
}
