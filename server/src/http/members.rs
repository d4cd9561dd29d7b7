//! What the peer port answers over HTTP: to tools, and to members that join.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde::Serialize;
use vetch_proto::etcdserverpb::Member;

use super::router::{self, HttpState};
use super::text;

/// What the peer port tells of the cluster.
#[derive(Clone)]
pub struct ClusterState {
    /// In hexadecimal, as etcd writes ids.
    pub cluster_id: String,
    /// The members this one knows, by ascending id.
    pub members: Arc<dyn Fn() -> Vec<Member> + Send + Sync>,
}

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
    let is_get = request.method() == Method::GET;
    match request.uri().path() {
        "/version" | "/members" | "/downgrade/enabled" if !is_get => text::only_get(),
        "/version" => router::version(&(state.versions)()),
        "/members" => {
            let members = (cluster.members)();
            let described: Vec<_> = members.iter().map(Described::of).collect();
            // Go's encoder ends with a line.
            let body = serde_json::to_string(&described).unwrap_or_default() + "\n";
            of_cluster(&cluster, text::json(StatusCode::OK, body))
        }
        // The answer while none is under way; none can be begun yet.
        "/downgrade/enabled" => {
            let kind = HeaderValue::from_static("text/plain");
            of_cluster(&cluster, text::typed(StatusCode::OK, kind, "false".to_owned()))
        }
        _ => text::not_found(),
    }
}

fn of_cluster(cluster: &ClusterState, mut response: Response<Body>) -> Response<Body> {
    if let Ok(id) = HeaderValue::from_str(&cluster.cluster_id) {
        response.headers_mut().insert("x-etcd-cluster-id", id);
    }
    response
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
