//! One client connection.

use super::wire;
use crate::history::{Answer, LeaseId, Op, Outcome, Response, Revision};
use std::time::Duration;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use vetch_proto::etcdserverpb::kv_client::KvClient;
use vetch_proto::etcdserverpb::lease_client::LeaseClient;
use vetch_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use vetch_proto::etcdserverpb::watch_client::WatchClient;
use vetch_proto::etcdserverpb::{self as pb};

/// Answers by which the server says that the operation has not happened and will not. Whatever
/// else goes wrong leaves that open.
const REFUSALS: [Code; 9] = [
    Code::InvalidArgument,
    Code::NotFound,
    Code::AlreadyExists,
    Code::PermissionDenied,
    Code::ResourceExhausted,
    Code::FailedPrecondition,
    Code::OutOfRange,
    Code::Unimplemented,
    Code::Unauthenticated,
];

/// The largest answer a client takes; histories of a test stay far below.
const MAX_ANSWER: usize = 256 << 20;

/// A connection of its own: clients do not share one, so that they run concurrently.
#[derive(Clone, Debug)]
pub struct Connection {
    kv: KvClient<Channel>,
    lease: LeaseClient<Channel>,
    maintenance: MaintenanceClient<Channel>,
    watch: WatchClient<Channel>,
}

impl Connection {
    /// Connects with the first call.
    pub fn lazy(endpoint: &str) -> Self {
        let channel = Endpoint::from_shared(endpoint.to_owned())
            .expect("an endpoint is a URL")
            .connect_timeout(Duration::from_secs(2))
            .connect_lazy();
        Self {
            kv: KvClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER),
            lease: LeaseClient::new(channel.clone()),
            maintenance: MaintenanceClient::new(channel.clone()),
            watch: WatchClient::new(channel).max_decoding_message_size(MAX_ANSWER),
        }
    }

    /// Carries out one operation.
    pub async fn call(&mut self, op: &Op, patience: Duration) -> Outcome {
        match timeout(patience, self.send(op)).await {
            Ok(Ok(response)) => Outcome::Ok(response),
            Ok(Err(status)) => outcome(&status),
            Err(_) => Outcome::Unknown(format!("no answer within {patience:?}")),
        }
    }

    async fn send(&mut self, op: &Op) -> Result<Response, Status> {
        let (revision, answer) = match op {
            Op::Put(put) => {
                let response = self.kv.put(wire::put_request(put)).await?.into_inner();
                (wire::revision(response.header.as_ref()), wire::put_answer(response))
            }
            Op::Range(range) => {
                let response = self.kv.range(wire::range_request(range)).await?.into_inner();
                (wire::revision(response.header.as_ref()), wire::range_answer(response))
            }
            Op::Delete(delete) => {
                let request = wire::delete_request(delete);
                let response = self.kv.delete_range(request).await?.into_inner();
                (wire::revision(response.header.as_ref()), wire::delete_answer(response))
            }
            Op::Txn(txn) => {
                let response = self.kv.txn(wire::txn_request(txn)).await?.into_inner();
                (wire::revision(response.header.as_ref()), wire::txn_answer(response))
            }
            Op::LeaseRevoke { lease } => {
                let request = pb::LeaseRevokeRequest { id: lease.0 };
                let response = self.lease.lease_revoke(request).await?.into_inner();
                (wire::revision(response.header.as_ref()), Answer::LeaseRevoke)
            }
        };
        Ok(Response { revision, answer })
    }

    /// Grants a lease of the shortest time the server allows or more.
    pub async fn grant(&mut self, lease: LeaseId, ttl_seconds: i64) -> Result<(), Status> {
        let request = pb::LeaseGrantRequest { ttl: ttl_seconds, id: lease.0 };
        self.lease.lease_grant(request).await.map(drop)
    }

    /// Forgets what `revision` superseded.
    pub async fn compact(&mut self, revision: Revision) -> Result<(), Status> {
        let request = pb::CompactionRequest { revision: revision.0, physical: false };
        self.kv.compact(request).await.map(drop)
    }

    /// The hash of the store at a revision.
    pub async fn hash_kv(&mut self, revision: Revision) -> Result<u32, Status> {
        let request = pb::HashKvRequest { revision: revision.0 };
        self.maintenance.hash_kv(request).await.map(|response| response.into_inner().hash)
    }

    /// Disarms every alarm.
    pub async fn disarm(&mut self) -> Result<(), Status> {
        let get = pb::AlarmRequest::default();
        for alarm in self.maintenance.alarm(get).await?.into_inner().alarms {
            let disarm = pb::AlarmRequest {
                action: pb::alarm_request::AlarmAction::Deactivate.into(),
                member_id: alarm.member_id,
                alarm: alarm.alarm,
            };
            self.maintenance.alarm(disarm).await?;
        }
        Ok(())
    }

    pub(super) fn watch_client(&self) -> WatchClient<Channel> {
        self.watch.clone()
    }
}

fn outcome(status: &Status) -> Outcome {
    let text = format!("{:?}: {}", status.code(), status.message());
    if REFUSALS.contains(&status.code()) { Outcome::Fail(text) } else { Outcome::Unknown(text) }
}
