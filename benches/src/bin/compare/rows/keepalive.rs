//! Keepalives: every client has a lease and a stream, and sends the next when the last is answered.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Streaming;
use vetch_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseRevokeRequest,
};

use crate::bench::Bench;
use crate::cluster::Cluster;
use crate::connection::{Connection, connect};
use crate::load::{Load, closed_loop};
use crate::metric::Metric;

const CLIENTS: usize = 64;
const TTL: i64 = 600;

pub(crate) async fn many_clients(bench: &mut Bench) -> Result<()> {
    bench
        .closed_loops(
            1,
            async |_| Ok(()),
            load,
            &[(Metric::KeepaliveRate, Load::rate), (Metric::KeepaliveCpu, Load::cpu_per_operation)],
        )
        .await
}

/// A keepalive stream.
pub(crate) struct Keepalive {
    requests: UnboundedSender<LeaseKeepAliveRequest>,
    answers: Streaming<LeaseKeepAliveResponse>,
}

impl Keepalive {
    /// Opens a stream by keeping `lease` alive: etcd answers nothing, not even headers, before the
    /// first request.
    pub(crate) async fn open(connection: &Connection, lease: i64) -> Result<Self> {
        let (requests, receiver) = unbounded_channel();
        requests.send(LeaseKeepAliveRequest { id: lease })?;
        let stream = UnboundedReceiverStream::new(receiver);
        let answers = connection.lease().lease_keep_alive(stream).await?.into_inner();
        let mut opened = Self { requests, answers };
        opened.answer().await?;
        Ok(opened)
    }

    pub(crate) fn send(&self, lease: i64) -> Result<()> {
        Ok(self.requests.send(LeaseKeepAliveRequest { id: lease })?)
    }

    /// The TTL granted anew.
    pub(crate) async fn answer(&mut self) -> Result<i64> {
        let answer = self.answers.message().await?.context("the stream ended")?;
        ensure!(answer.ttl > 0, "lease {:x} is gone", answer.id);
        Ok(answer.ttl)
    }
}

async fn load(cluster: &Cluster, duration: Duration) -> Result<Load> {
    let connections = connect(&cluster.addresses(), CLIENTS).await?;
    let mut clients = Vec::new();
    let mut leases = Vec::new();
    for connection in &connections {
        let grant = LeaseGrantRequest { ttl: TTL, id: 0 };
        let lease = connection.lease().lease_grant(grant).await?.into_inner().id;
        clients.push((Keepalive::open(connection, lease).await?, lease));
        leases.push(lease);
    }
    let load = closed_loop(&cluster.pids()?, clients, duration, async |(stream, lease)| {
        stream.send(*lease)?;
        stream.answer().await.map(drop)
    })
    .await?;
    for id in leases {
        connections[0].lease().lease_revoke(LeaseRevokeRequest { id }).await?;
    }
    Ok(load)
}
