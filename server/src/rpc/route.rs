//! From a request's path to the method that answers it.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::StreamBody;
use prost::Message;
use tonic::Status;
use vetch_proto::etcdserverpb::{
    DefragmentRequest, HashRequest, LeaseKeepAliveResponse, LeaseLeasesRequest, StatusRequest,
};
use vetch_proto::grpc::health::HealthListRequest;
use vetch_raft::Platform;

use super::api::Api;
use super::body::{
    AnswerBody, framed, ok_trailers, refuse, respond, respond_with, status_trailers,
};
use super::message::{MessageReader, ReceivedCounters};
use super::meter::{Call, Metered, unmetered};
use super::method::{Method, Shape};
use super::status::Refusal;
use super::stream_end::StreamEnd;
use super::{cluster, health, kv, lease, maintenance, range_body, range_stream, snapshot};
use crate::edge::peer::Peer;
use crate::metrics::{Counter, Metrics};

/// Answers one gRPC call.
pub async fn route<P, B>(api: &Arc<Api<P>>, client: Peer, request: Request<B>) -> Response<Metered>
where
    P: Platform,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::fmt::Display,
{
    let (parts, body) = request.into_parts();
    let Some(method) = Method::from_path(parts.uri.path()) else {
        return unmetered(unknown(parts.uri.path()));
    };
    let call = Call::start(&api.metrics, method, client, api.warnings.unary_request);
    let response = match admit(api, method, &parts.headers) {
        Ok(end) => {
            let max_bytes = api.limits.max_message_bytes();
            let counters = ReceivedCounters {
                messages: api.metrics.rpc.method(method).received.clone(),
                bytes: api.metrics.network.client_received.clone(),
                failures: receive_failures(&api.metrics, method),
            };
            match MessageReader::new(&parts.headers, body, max_bytes, counters) {
                Ok(messages) => dispatch(api, method, messages, end).await,
                Err(status) => refuse(status),
            }
        }
        Err(refusal) => refuse(refusal),
    };
    call.follow(response)
}

fn unknown(path: &str) -> Response<AnswerBody> {
    let path = path.trim_start_matches('/');
    let (service, method) = path.rsplit_once('/').unwrap_or((path, ""));
    refuse(Status::unimplemented(if Method::is_service(service) {
        format!("unknown method {method} for service {service}")
    } else {
        format!("unknown service {service}")
    }))
}

fn receive_failures(metrics: &Metrics, method: Method) -> Option<Counter> {
    let failures = &metrics.stream_failures;
    if method == Method::Watch {
        return Some(failures.watch.clone());
    }
    (method == Method::LeaseKeepAlive).then(|| failures.keep_alive.clone())
}

/// Counts a call by its client's version, and refuses one that wants a leader while there is none, or
/// that a learner does not answer. Of ranges it answers the serializable ones.
fn admit<P: Platform>(
    api: &Api<P>,
    method: Method,
    headers: &HeaderMap,
) -> Result<StreamEnd, Refusal> {
    let for_learners = matches!(method, Method::Status | Method::Range | Method::Snapshot);
    if !for_learners && api.replica.is_learner() {
        return Err(Refusal::NotForLearner);
    }
    let version = headers.get("client-api-version").map(|value| str::from_utf8(value.as_bytes()));
    let version = version.transpose().map_err(|_not_utf8| Refusal::InvalidClientApiVersion)?;
    api.metrics.clients.count(method.shape() != Shape::Unary, version);
    let wants_leader = headers.get("hasleader").is_some_and(|value| value == "true");
    if wants_leader && api.replica.status().leader.is_none() {
        return Err(Refusal::NoLeader);
    }
    Ok(StreamEnd::new(api.stopping.clone(), &api.leader_loss, wants_leader))
}

async fn dispatch<P, B>(
    api: &Arc<Api<P>>,
    method: Method,
    mut messages: MessageReader<B>,
    end: StreamEnd,
) -> Response<AnswerBody>
where
    P: Platform,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::fmt::Display,
{
    match method {
        Method::Range => match messages.only().await {
            Ok(request) => range_body::range(api, request).await,
            Err(status) => refuse(status),
        },
        Method::RangeStream => match messages.only().await {
            Ok(request) => range_stream::range_stream(api, request).await,
            Err(status) => refuse(status),
        },
        Method::Put => unary(messages, |request| kv::put(api, request)).await,
        Method::DeleteRange => unary(messages, |request| kv::delete_range(api, request)).await,
        Method::Txn => unary(messages, |request| kv::txn(api, request)).await,
        Method::Compact => unary(messages, |request| kv::compact(api, request)).await,
        Method::Watch => crate::watch::serve(Arc::clone(api), messages, end),
        Method::LeaseGrant => unary(messages, |request| lease::grant(api, request)).await,
        Method::LeaseRevoke => unary(messages, |request| lease::revoke(api, request)).await,
        Method::LeaseKeepAlive => keep_alive(Arc::clone(api), messages, end),
        Method::LeaseTimeToLive => {
            unary(messages, |request| lease::time_to_live(api, request)).await
        }
        Method::LeaseLeases => {
            unary(messages, async |_request: LeaseLeasesRequest| Ok(lease::leases(api))).await
        }
        Method::MemberList => unary(messages, |request| cluster::member_list(api, request)).await,
        Method::Alarm => unary(messages, |request| maintenance::alarm(api, request)).await,
        Method::Status => {
            unary(messages, async |_request: StatusRequest| Ok(maintenance::status(api))).await
        }
        Method::Defragment => {
            unary(messages, |_request: DefragmentRequest| maintenance::defragment(api)).await
        }
        Method::Hash => unary(messages, |_request: HashRequest| maintenance::hash(api)).await,
        Method::HashKv => unary(messages, |request| maintenance::hash_kv(api, request)).await,
        Method::Snapshot => snapshot::snapshot(api).await,
        Method::HealthCheck => unary(messages, async |request| health::check(&request)).await,
        Method::HealthList => {
            unary(messages, async |_request: HealthListRequest| Ok(health::list())).await
        }
        Method::HealthWatch => match messages.only().await {
            Ok(request) => open_ended(end, &health::watch(&request)),
            Err(status) => refuse(status),
        },
        Method::MemberAdd => unary(messages, |request| cluster::member_add(api, request)).await,
        Method::MemberRemove => {
            unary(messages, |request| cluster::member_remove(api, request)).await
        }
        Method::MemberUpdate => {
            unary(messages, |request| cluster::member_update(api, request)).await
        }
        Method::MemberPromote => {
            unary(messages, |request| cluster::member_promote(api, request)).await
        }
        Method::MoveLeader => {
            unary(messages, |request| maintenance::move_leader(api, request)).await
        }
        Method::Downgrade => refuse(Refusal::NotBuilt("vetch: downgrades are not built yet")),
        Method::AuthEnable
        | Method::AuthDisable
        | Method::AuthStatus
        | Method::Authenticate
        | Method::UserAdd
        | Method::UserGet
        | Method::UserList
        | Method::UserDelete
        | Method::UserChangePassword
        | Method::UserGrantRole
        | Method::UserRevokeRole
        | Method::RoleAdd
        | Method::RoleGet
        | Method::RoleList
        | Method::RoleDelete
        | Method::RoleGrantPermission
        | Method::RoleRevokePermission => {
            refuse(Refusal::NotBuilt("vetch: authentication is not built yet"))
        }
        Method::Lock
        | Method::Unlock
        | Method::Campaign
        | Method::Proclaim
        | Method::Leader
        | Method::Observe
        | Method::Resign => refuse(Refusal::NotBuilt(
            "vetch: the Lock and Election services are not built yet; clientv3's concurrency \
             package does the same from the client",
        )),
    }
}

/// Decodes the one request, calls, encodes the one answer.
async fn unary<Req, Res, B, F>(mut messages: MessageReader<B>, call: F) -> Response<AnswerBody>
where
    Req: Message + Default,
    Res: Message,
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
    F: AsyncFnOnce(Req) -> Result<Res, Refusal>,
{
    match messages.only().await {
        Ok(request) => match call(request).await {
            Ok(answer) => respond_with(&answer),
            Err(refusal) => refuse(refusal),
        },
        Err(status) => refuse(status),
    }
}

/// Lease.LeaseKeepAlive: an answer for each request, in order.
fn keep_alive<P, B>(
    api: Arc<Api<P>>,
    messages: MessageReader<B>,
    end: StreamEnd,
) -> Response<AnswerBody>
where
    P: Platform,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::fmt::Display,
{
    let frames = stream::unfold(Some((api, messages, end)), |state| async {
        let (api, mut messages, end) = state?;
        let renewed = tokio::select! {
            biased;
            renewed = renew(&api, &mut messages) => renewed,
            refusal = end.reached() => Err(refusal.into()),
        };
        Some(match renewed {
            Ok(Some(answer)) => {
                (Ok::<_, Infallible>(Frame::data(framed(&answer))), Some((api, messages, end)))
            }
            Ok(None) => (Ok(Frame::trailers(ok_trailers())), None),
            Err(status) => (Ok(Frame::trailers(status_trailers(&status))), None),
        })
    });
    respond(StreamBody::new(frames))
}

/// The answer to the next request; `None` when there is none.
async fn renew<P, B>(
    api: &Api<P>,
    messages: &mut MessageReader<B>,
) -> Result<Option<LeaseKeepAliveResponse>, Status>
where
    P: Platform,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::fmt::Display,
{
    match messages.next().await? {
        Some(request) => Ok(Some(lease::keep_alive(api, request).await?)),
        None => Ok(None),
    }
}

/// One answer, then a stream that stays open until the client leaves or the node ends it.
fn open_ended(end: StreamEnd, first: &impl Message) -> Response<AnswerBody> {
    let first = stream::iter([Ok::<_, Infallible>(Frame::data(framed(first)))]);
    let last = stream::once(async move {
        let refusal = end.reached().await;
        Ok(Frame::trailers(status_trailers(&refusal.into())))
    });
    respond(StreamBody::new(futures::StreamExt::chain(first, last)))
}
