//! Heavy requests on the big store, beside steady puts.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::time::sleep;
use vetch_benches::dataset::{KEY_LEN, PREFIX, range_end};
use vetch_proto::etcdserverpb::{
    CompactionRequest, DefragmentRequest, RangeRequest, SnapshotRequest,
};

use super::put::VALUE;
use super::putter::Putter;
use crate::connection::Connection;
use crate::server::Server;

/// Steady puts before the request: the state it disturbs.
const BEFORE: Duration = Duration::from_millis(700);
/// And after it: what it leaves to the background counts too.
const AFTER: Duration = Duration::from_millis(1_300);

/// What a heavy request did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Disturbance {
    /// How long the request itself took.
    pub(crate) took: Duration,
    pub(crate) longest_gap: Duration,
}

/// The longest gap while `request` is answered, from shortly before to shortly after.
pub(crate) async fn beside_puts(
    server: &Server,
    request: impl AsyncFn(&Connection) -> Result<()>,
) -> Result<Disturbance> {
    let connection = Connection::open(server.address()).await?;
    let putter = Putter::start(server.address());
    sleep(BEFORE).await;
    let start = Instant::now();
    let result = request(&connection).await;
    let took = start.elapsed();
    sleep(AFTER).await;
    let longest_gap = putter.finish().await?.longest;
    result?;
    Ok(Disturbance { took, longest_gap })
}

pub(crate) async fn defragment(connection: &Connection) -> Result<()> {
    connection.maintenance().defragment(DefragmentRequest {}).await?;
    Ok(())
}

pub(crate) async fn snapshot(connection: &Connection, keys: u64) -> Result<()> {
    let path = "/etcdserverpb.Maintenance/Snapshot";
    let received = connection.drain(path, &SnapshotRequest {}).await?;
    ensure!(received >= data(keys), "a snapshot of {received} bytes cannot hold {keys} keys");
    Ok(())
}

pub(crate) async fn list(connection: &Connection, keys: u64) -> Result<()> {
    let all =
        RangeRequest { key: PREFIX.into(), range_end: range_end(), ..RangeRequest::default() };
    let received = connection.drain("/etcdserverpb.KV/Range", &all).await?;
    ensure!(received >= data(keys), "an answer of {received} bytes cannot hold {keys} keys");
    Ok(())
}

/// Compacts all history and waits until it is removed.
pub(crate) async fn compact(connection: &Connection) -> Result<()> {
    let get = RangeRequest { key: PREFIX.into(), ..RangeRequest::default() };
    let header = connection.kv().range(get).await?.into_inner().header;
    let revision = header.map_or(0, |header| header.revision);
    connection.kv().compact(CompactionRequest { revision, physical: true }).await?;
    Ok(())
}

/// Bytes of all keys and values.
fn data(keys: u64) -> u64 {
    keys * (KEY_LEN + VALUE) as u64
}
