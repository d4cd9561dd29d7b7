//! A page of 500 and a count, one client, out of few and of many keys.
//!
//! Pages begin at random in the first tenth of all keys and are open to the end, as the pages of a
//! paged list are: not always the same blocks, and nearly all keys are in the range.

use std::time::Duration;

use anyhow::{Result, ensure};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use vetch_benches::dataset::{PREFIX, key, range_end};
use vetch_proto::etcdserverpb::RangeRequest;

use crate::connection::Connection;
use crate::load::{Load, closed_loop};
use crate::server::Server;

const PAGE: u16 = 500;

pub(crate) async fn pages(server: &Server, keys: u64, duration: Duration) -> Result<Load> {
    let client = Connection::open(server.address()).await?.kv();
    let clients = vec![(client, SmallRng::seed_from_u64(1))];
    closed_loop(&[server.pid()?], clients, duration, async move |(client, random)| {
        let first = random.random_range(0..keys / 10);
        let page = RangeRequest {
            key: key(first),
            range_end: range_end(),
            limit: PAGE.into(),
            ..RangeRequest::default()
        };
        let answer = client.range(page).await?.into_inner();
        ensure!(answer.kvs.len() == usize::from(PAGE), "a page of {}", answer.kvs.len());
        ensure!(answer.more && answer.count.cast_unsigned() == keys - first, "a wrong count");
        Ok(())
    })
    .await
}

pub(crate) async fn counts(server: &Server, keys: u64, duration: Duration) -> Result<Load> {
    let client = Connection::open(server.address()).await?.kv();
    closed_loop(&[server.pid()?], vec![client], duration, async move |client| {
        let count = RangeRequest {
            key: PREFIX.into(),
            range_end: range_end(),
            count_only: true,
            ..RangeRequest::default()
        };
        let answer = client.range(count).await?.into_inner();
        ensure!(answer.count.cast_unsigned() == keys, "{} keys counted", answer.count);
        Ok(())
    })
    .await
}
