//! 10,000 leases with a key each, all due at once: how long past the deadline until the last key is
//! gone. Keepalives in one burst bring the deadlines together; how far apart they are, is measured.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::time::timeout;
use tokio_stream::wrappers::UnboundedReceiverStream;
use vetch_benches::dataset::{PREFIX, key, range_end};
use vetch_proto::etcdserverpb::request_op::Request;
use vetch_proto::etcdserverpb::watch_request::RequestUnion;
use vetch_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseLeasesRequest, PutRequest, RequestOp, TxnRequest, WatchCreateRequest,
    WatchRequest,
};

use super::keepalive::Keepalive;
use crate::bench::Bench;
use crate::connection::{Connection, connect};
use crate::fill::BATCH;
use crate::metric::Metric;
use crate::server::Server;

const LEASES: usize = 10_000;
const GRANTING: usize = 64;
const STREAMS: usize = 8;
/// Long enough for granting all and attaching the keys, on a slow disk too.
const TTL: i64 = 15;
const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) async fn due_at_once(bench: &mut Bench) -> Result<()> {
    let mut servers = bench.start().await?;
    for _ in 0..bench.args.rounds().min(2) {
        for server in &mut servers {
            let late = expire(server).await.map_err(|error| server.explain(error))?;
            bench.record(Metric::LeaseLast, server, late.as_secs_f64());
        }
    }
    Ok(())
}

async fn expire(server: &Server) -> Result<Duration> {
    let leases = grant(server).await?;
    let connection = Connection::open(server.address()).await?;
    attach(&connection, &leases).await?;
    let watch = Deletions::watch(&connection).await?;
    let renewed = renew(server, &leases).await?;
    let deadline = renewed + Duration::from_secs(TTL.unsigned_abs());
    let last = watch.last(LEASES).await?;
    let left = connection.lease().lease_leases(LeaseLeasesRequest {}).await?.into_inner().leases;
    ensure!(left.is_empty(), "{} leases are left though all keys are gone", left.len());
    Ok(last.saturating_duration_since(deadline))
}

async fn grant(server: &Server) -> Result<Vec<i64>> {
    let left = Rc::new(Cell::new(LEASES));
    let mut tasks = Vec::new();
    for connection in connect(&[server.address()], GRANTING).await? {
        let left = Rc::clone(&left);
        tasks.push(tokio::task::spawn_local(async move {
            let mut granted = Vec::new();
            while left.get() > 0 {
                left.set(left.get() - 1);
                let grant = LeaseGrantRequest { ttl: TTL, id: 0 };
                granted.push(connection.lease().lease_grant(grant).await?.into_inner().id);
            }
            anyhow::Ok(granted)
        }));
    }
    let mut leases = Vec::new();
    for task in tasks {
        leases.extend(task.await??);
    }
    Ok(leases)
}

async fn attach(connection: &Connection, leases: &[i64]) -> Result<()> {
    let pairs: Vec<_> = (0..).zip(leases).collect();
    for batch in pairs.chunks(usize::try_from(BATCH)?) {
        let put = |(number, lease): &(u64, &i64)| {
            let put = PutRequest { key: key(*number), lease: **lease, ..PutRequest::default() };
            RequestOp { request: Some(Request::RequestPut(put)) }
        };
        let success = batch.iter().map(put).collect();
        connection.kv().txn(TxnRequest { success, ..TxnRequest::default() }).await?;
    }
    Ok(())
}

/// Renews all, as fast as it goes; returns when the last answer came.
async fn renew(server: &Server, leases: &[i64]) -> Result<Instant> {
    let mut tasks = Vec::new();
    for chunk in leases.chunks(leases.len().div_ceil(STREAMS)) {
        let connection = Connection::open(server.address()).await?;
        let mut stream = Keepalive::open(&connection, chunk[0]).await?;
        let chunk = chunk.to_vec();
        tasks.push(async move {
            for lease in &chunk {
                stream.send(*lease)?;
            }
            for _ in &chunk {
                let ttl = stream.answer().await?;
                ensure!(ttl == TTL, "granted anew for {ttl} s");
            }
            Ok(())
        });
    }
    let start = Instant::now();
    futures::future::try_join_all(tasks).await?;
    let spread = start.elapsed();
    ensure!(spread < Duration::from_secs(1), "renewing took {spread:?}: not due at once");
    Ok(Instant::now())
}

/// Counts deletions of all keys.
struct Deletions {
    answers: tonic::Streaming<vetch_proto::etcdserverpb::WatchResponse>,
    _requests: tokio::sync::mpsc::UnboundedSender<WatchRequest>,
}

impl Deletions {
    async fn watch(connection: &Connection) -> Result<Self> {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        let create = WatchCreateRequest {
            key: PREFIX.into(),
            range_end: range_end(),
            ..WatchCreateRequest::default()
        };
        sender.send(WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) })?;
        let receiver = UnboundedReceiverStream::new(receiver);
        let mut answers = connection.watch().watch(receiver).await?.into_inner();
        let answer = answers.message().await?.context("the stream ended")?;
        ensure!(answer.created, "not created: {answer:?}");
        Ok(Self { answers, _requests: sender })
    }

    /// When the `count`-th deletion arrived.
    async fn last(mut self, count: usize) -> Result<Instant> {
        let mut gone = 0;
        let all = async {
            while gone < count {
                let answer = self.answers.message().await?.context("the stream ended")?;
                ensure!(!answer.canceled, "canceled: {}", answer.cancel_reason);
                gone += answer.events.len();
            }
            Ok(Instant::now())
        };
        let last = timeout(PATIENCE, all).await;
        last.with_context(|| format!("{gone} of {count} leases are gone"))?
    }
}
