//! Updates as kube-apiserver makes them: if the key's mod revision is the one last seen, put 1 KiB,
//! else read. Every client has 100 keys of its own, so that every update succeeds.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use vetch_benches::dataset::{Values, key};
use vetch_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use vetch_proto::etcdserverpb::kv_client::KvClient;
use vetch_proto::etcdserverpb::request_op::Request;
use vetch_proto::etcdserverpb::{Compare, PutRequest, RangeRequest, RequestOp, TxnRequest};

use crate::bench::Bench;
use crate::cluster::Cluster;
use crate::connection::{Connection, connect};
use crate::fill::fill;
use crate::load::{Load, closed_loop};
use crate::metric::Metric;

const CLIENTS: u64 = 64;
const KEYS_PER_CLIENT: u64 = 100;
const VALUE: usize = 1024;

pub(crate) async fn many_clients(bench: &mut Bench) -> Result<()> {
    bench
        .closed_loops(
            1,
            prepare,
            load,
            &[(Metric::TxnRate, Load::rate), (Metric::TxnCpu, Load::cpu_per_operation)],
        )
        .await
}

async fn prepare(cluster: &Cluster) -> Result<()> {
    fill(cluster.leader().address(), CLIENTS * KEYS_PER_CLIENT, 1, &Values::new(VALUE)).await
}

struct Client {
    kv: KvClient<Connection>,
    /// Own keys and the mod revision last seen of each.
    keys: Vec<(Bytes, i64)>,
    turn: usize,
}

impl Client {
    async fn new(connection: &Connection, number: u64) -> Result<Self> {
        let mut kv = connection.kv();
        let list = RangeRequest {
            key: key(number * KEYS_PER_CLIENT),
            range_end: key((number + 1) * KEYS_PER_CLIENT),
            ..RangeRequest::default()
        };
        let found = kv.range(list).await?.into_inner().kvs;
        ensure!(found.len() as u64 == KEYS_PER_CLIENT, "keys are missing");
        let keys = found.into_iter().map(|kv| (kv.key, kv.mod_revision)).collect();
        Ok(Self { kv, keys, turn: 0 })
    }

    async fn update(&mut self, values: &Values) -> Result<()> {
        self.turn = (self.turn + 1) % self.keys.len();
        let (key, seen) = &mut self.keys[self.turn];
        let value = values.get(seen.cast_unsigned());
        let answer = self.kv.txn(update(key, *seen, value)).await?.into_inner();
        ensure!(answer.succeeded, "the mod revision of {key:?} was not {seen}");
        *seen = answer.header.context("no header")?.revision;
        Ok(())
    }
}

fn update(key: &Bytes, seen: i64, value: Bytes) -> TxnRequest {
    let unchanged = Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Mod.into(),
        key: key.clone(),
        target_union: Some(TargetUnion::ModRevision(seen)),
        ..Compare::default()
    };
    let put = PutRequest { key: key.clone(), value, ..PutRequest::default() };
    let get = RangeRequest { key: key.clone(), ..RangeRequest::default() };
    TxnRequest {
        compare: vec![unchanged],
        success: vec![RequestOp { request: Some(Request::RequestPut(put)) }],
        failure: vec![RequestOp { request: Some(Request::RequestRange(get)) }],
    }
}

async fn load(cluster: &Cluster, duration: Duration) -> Result<Load> {
    let connections = connect(&cluster.addresses(), usize::try_from(CLIENTS)?).await?;
    let mut clients = Vec::new();
    for (number, connection) in (0..).zip(&connections) {
        clients.push(Client::new(connection, number).await?);
    }
    let values = Values::new(VALUE);
    closed_loop(&cluster.pids()?, clients, duration, async move |client| {
        client.update(&values).await
    })
    .await
}
