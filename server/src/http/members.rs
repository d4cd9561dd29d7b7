//! What the peer port answers over HTTP: to tools, and to members that join.
//!
//! Not served: etcd's own transport of Raft and of leases (`/raft`, `/leases`), which no member here
//! speaks.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde::{Deserialize, Serialize};
use vetch_proto::etcdserverpb::{HashKvResponse, Member};
use vetch_raft::MemberChangeError;

use super::router::{self, HttpState};
use super::text;
use crate::rpc::Refusal;

/// The longest body that is read.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// Header of requests and answers that names the cluster.
const CLUSTER_ID: &str = "x-etcd-cluster-id";

/// What the peer port tells of the cluster, and does for it.
#[derive(Clone)]
pub struct ClusterState {
    /// In hexadecimal, as etcd writes ids.
    pub cluster_id: String,
    /// The members this one knows, by ascending id.
    pub members: Arc<dyn Fn() -> Vec<Member> + Send + Sync>,
    /// Makes the learner of this id a voter; the members then.
    pub promote: Arc<dyn Fn(u64) -> Answer<Vec<Member>> + Send + Sync>,
    /// The hash of the history up to this revision, 0 for the current one.
    pub hash: Arc<dyn Fn(i64) -> Answer<HashKvResponse> + Send + Sync>,
}

/// What a node answers to such a question.
pub type Answer<T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send>>;

impl std::fmt::Debug for ClusterState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterState").field("cluster_id", &self.cluster_id).finish_non_exhaustive()
    }
}

/// For `--listen-peer-urls`, beside the members' own service.
pub fn peer_router(state: HttpState, cluster: ClusterState) -> Router {
    Router::new().fallback(answer).with_state((state, cluster))
}

async fn answer(
    State((state, cluster)): State<(HttpState, ClusterState)>,
    request: Request<Body>,
) -> Response<Body> {
    let (request, body) = request.into_parts();
    let is_get = request.method == Method::GET;
    match request.uri.path() {
        "/version" | "/members" | "/members/hashkv" | "/downgrade/enabled" if !is_get => {
            text::only_get()
        }
        "/version" => router::version(&(state.versions)()),
        "/members" => of_cluster(&cluster, described(&(cluster.members)(), "\n")),
        "/members/hashkv" => hash(&cluster, &request, body).await,
        // The answer while none is under way; none can be begun yet.
        "/downgrade/enabled" => {
            let kind = HeaderValue::from_static("text/plain");
            of_cluster(&cluster, text::typed(StatusCode::OK, kind, "false".to_owned()))
        }
        path => match path.strip_prefix("/members/promote/") {
            Some(_) if request.method != Method::POST => text::only("POST"),
            Some(id) => of_cluster(&cluster, promote(&cluster, id).await),
            None => text::not_found(),
        },
    }
}

fn of_cluster(cluster: &ClusterState, mut response: Response<Body>) -> Response<Body> {
    if let Ok(id) = HeaderValue::from_str(&cluster.cluster_id) {
        response.headers_mut().insert(CLUSTER_ID, id);
    }
    response
}

/// `end` is a line's where Go's encoder writes one.
fn described(members: &[Member], end: &str) -> Response<Body> {
    let described: Vec<_> = members.iter().map(Described::of).collect();
    text::json(StatusCode::OK, serde_json::to_string(&described).unwrap_or_default() + end)
}

async fn promote(cluster: &ClusterState, id: &str) -> Response<Body> {
    let refuse = |status, text: &str| text::plain(status, format!("{text}\n"));
    let Ok(id) = id.parse::<u64>() else {
        return refuse(StatusCode::NOT_FOUND, &format!("member {id} not found in cluster"));
    };
    match (cluster.promote)(id).await {
        Ok(members) => described(&members, "\n"),
        Err(Refusal::Member(MemberChangeError::NotFound)) => {
            refuse(StatusCode::NOT_FOUND, "membership: ID not found")
        }
        Err(Refusal::Member(MemberChangeError::NotLearner)) => {
            refuse(StatusCode::PRECONDITION_FAILED, "membership: can only promote a learner member")
        }
        Err(refusal @ Refusal::Member(MemberChangeError::LearnerNotReady)) => {
            refuse(StatusCode::PRECONDITION_FAILED, refusal.code_and_text().1)
        }
        Err(refusal) => {
            tracing::warn!(error = refusal.code_and_text().1, "a learner was not promoted");
            let body = r#"{"message":"Internal Server Error"}"#;
            text::json(StatusCode::INTERNAL_SERVER_ERROR, body.to_owned())
        }
    }
}

/// What is asked for in the body of `/members/hashkv`.
#[derive(Default, Deserialize)]
struct HashRequest {
    #[serde(default)]
    revision: i64,
}

/// What [`HashRequest`] is answered with; what is 0 is left out, as Go does.
#[derive(Serialize)]
struct Hashed {
    header: HashHeader,
    #[serde(skip_serializing_if = "is_zero")]
    hash: u32,
    #[serde(skip_serializing_if = "is_zero")]
    compact_revision: i64,
    #[serde(skip_serializing_if = "is_zero")]
    hash_revision: i64,
}

#[derive(Serialize)]
struct HashHeader {
    revision: i64,
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

async fn hash(cluster: &ClusterState, request: &Parts, body: Body) -> Response<Body> {
    let refuse = |status, text: &str| text::plain(status, format!("{text}\n"));
    let Ok(body) = Limited::new(body, MAX_BODY_BYTES).collect().await else {
        return refuse(StatusCode::BAD_REQUEST, "error reading body");
    };
    let Ok(HashRequest { revision }) = serde_json::from_slice(&body.to_bytes()) else {
        return refuse(StatusCode::BAD_REQUEST, "error unmarshalling request");
    };
    let meant = request.headers.get(CLUSTER_ID).is_none_or(|id| id == cluster.cluster_id.as_str());
    if !meant {
        return refuse(StatusCode::PRECONDITION_FAILED, "cluster ID mismatch");
    }
    match (cluster.hash)(revision).await {
        Ok(HashKvResponse { header, hash, compact_revision, hash_revision }) => {
            let header = HashHeader { revision: header.unwrap_or_default().revision };
            let hashed = Hashed { header, hash, compact_revision, hash_revision };
            let body = serde_json::to_string(&hashed).unwrap_or_default();
            of_cluster(cluster, text::json(StatusCode::OK, body))
        }
        Err(refusal) => {
            let text = refusal.code_and_text().1;
            let text = text.strip_prefix("etcdserver: ").unwrap_or(text);
            refuse(StatusCode::BAD_REQUEST, text)
        }
    }
}

/// A member as etcd's JSON has it: the id as a number of 64 bits, in this order, what is empty left
/// out.
#[derive(Serialize)]
struct Described<'a> {
    id: u64,
    #[serde(rename = "peerURLs")]
    peer_urls: &'a [String],
    #[serde(rename = "isLearner", skip_serializing_if = "std::ops::Not::not")]
    is_learner: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(rename = "clientURLs", skip_serializing_if = "<[String]>::is_empty")]
    client_urls: &'a [String],
}

impl<'a> Described<'a> {
    fn of(member: &'a Member) -> Self {
        Self {
            id: member.id,
            peer_urls: &member.peer_ur_ls,
            is_learner: member.is_learner,
            name: &member.name,
            client_urls: &member.client_ur_ls,
        }
    }
}
