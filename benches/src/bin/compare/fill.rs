//! Puts many keys fast, the same way for both sides.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::{Context as _, Result, ensure};
use vetch_benches::dataset::{Scattered, Values, key};
use vetch_proto::etcdserverpb::request_op::Request;
use vetch_proto::etcdserverpb::{PutRequest, RequestOp, TxnRequest};

use crate::connection::connect;

/// Clients that fill at once.
const CLIENTS: usize = 32;

/// Operations per transaction: etcd's default limit.
pub(crate) const BATCH: u64 = 128;

/// Puts every `every`-th of the first `len` keys, in scattered order, in transactions of 128 puts by
/// 32 clients.
pub(crate) async fn fill(server: SocketAddr, len: u64, every: u64, values: &Values) -> Result<()> {
    fill_in_batches(server, len, every, values, BATCH).await
}

/// [`fill`] with another number of puts per transaction.
pub(crate) async fn fill_in_batches(
    server: SocketAddr,
    len: u64,
    every: u64,
    values: &Values,
    batch: u64,
) -> Result<()> {
    let total = len / every;
    let order = Scattered::new(total);
    let next = Rc::new(Cell::new(0));
    let mut tasks = Vec::new();
    for connection in connect(&[server], CLIENTS).await? {
        let next = Rc::clone(&next);
        let values = values.clone();
        tasks.push(tokio::task::spawn_local(async move {
            let mut client = connection.kv();
            while next.get() < total {
                let start = next.get();
                next.set(total.min(start + batch));
                let numbers = (start..next.get()).map(|position| order.at(position) * every);
                let success: Vec<_> = numbers.map(|number| put(number, &values)).collect();
                let sent = success.len();
                let answer =
                    client.txn(TxnRequest { success, ..TxnRequest::default() }).await?.into_inner();
                ensure!(answer.responses.len() == sent, "a transaction was not carried out");
            }
            anyhow::Ok(())
        }));
    }
    for task in tasks {
        task.await.context("a client task died")??;
    }
    Ok(())
}

fn put(number: u64, values: &Values) -> RequestOp {
    let put = PutRequest { key: key(number), value: values.get(number), ..PutRequest::default() };
    RequestOp { request: Some(Request::RequestPut(put)) }
}
