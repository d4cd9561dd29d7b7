//! What is served where.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::checks::{Check, Endpoint};
use super::probe::HealthProbe;
use super::{access, checks, debug, gateway, health, text};
use crate::config::Http;
use crate::metrics::Metrics;
use crate::version;

/// What `/version` says; `None` before it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// As `3.7.0`: digits and dots, which clients parse.
    pub cluster: Option<String>,
    /// As `3.7.0`.
    pub storage: Option<String>,
}

/// What the handlers need of a node.
#[derive(Clone)]
pub struct HttpState {
    /// Health.
    pub probe: HealthProbe,
    /// `/metrics`.
    pub metrics: Arc<Metrics>,
    /// `/version`.
    pub versions: Arc<dyn Fn() -> Versions + Send + Sync>,
    /// `raft.status` in `/debug/vars`.
    pub raft_status: Arc<dyn Fn() -> Value + Send + Sync>,
    /// `--cors`, `--host-whitelist`, `--enable-grpc-gateway`.
    pub http: Http,
}

impl std::fmt::Debug for HttpState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpState").finish_non_exhaustive()
    }
}

/// For `--listen-client-urls` and `--listen-client-http-urls`: everything, with access rules.
pub fn client_router(state: HttpState) -> Router {
    Router::new().fallback(answer_client).with_state(state)
}

/// For `--listen-metrics-urls`: metrics and health, without access rules.
pub fn metrics_router(state: HttpState) -> Router {
    Router::new().fallback(answer_metrics).with_state(state)
}

async fn answer_client(State(state): State<HttpState>, request: Request<Body>) -> Response<Body> {
    // No body is read here, and it could not be shared across the checks.
    let request = request.into_parts().0;
    let origin = access::allowed_origin(&state.http, &request.headers);
    let early = access::answer_early(&state.http, &request);
    let mut response = match early {
        Some(response) => response,
        None => route_client(&state, &request).await,
    };
    if let Some(origin) = origin {
        access::add_cors(&mut response, origin);
    }
    response
}

async fn answer_metrics(State(state): State<HttpState>, request: Request<Body>) -> Response<Body> {
    route_shared(&state, &request.into_parts().0).await.unwrap_or_else(text::not_found)
}

async fn route_client(state: &HttpState, request: &Parts) -> Response<Body> {
    let (method, path) = (&request.method, request.uri.path());
    match path {
        "/version" if method == Method::GET => version(&(state.versions)()),
        "/debug/vars" if method == Method::GET => debug::answer(&(state.raft_status)()),
        "/version" | "/debug/vars" => text::only_get(),
        _ if state.http.gateway && (path.starts_with("/v3/") || path.starts_with("/v3beta/")) => {
            gateway::answer(method)
        }
        _ => route_shared(state, request).await.unwrap_or_else(text::not_found),
    }
}

/// What client and metrics listeners both serve.
async fn route_shared(state: &HttpState, request: &Parts) -> Option<Response<Body>> {
    let path = request.uri.path();
    if path == "/metrics" {
        return Some(metrics(&state.metrics));
    }
    let target = Target::of(path)?;
    if request.method != Method::GET {
        tracing::warn!(path, status_code = 405, "Health request error");
        return Some(text::only_get());
    }
    let query = parse_query(request.uri.query().unwrap_or_default());
    let (probe, measured) = (&state.probe, &*state.metrics);
    Some(match target {
        Target::Health => health::answer(&query, probe, measured).await,
        Target::All(endpoint) => checks::all(endpoint, &query, probe, measured).await,
        Target::One(endpoint, check) => {
            checks::single(endpoint, check, &query, probe, measured).await
        }
    })
}

/// A health endpoint.
enum Target {
    Health,
    All(Endpoint),
    One(Endpoint, Check),
}

impl Target {
    fn of(path: &str) -> Option<Self> {
        if path == "/health" {
            return Some(Self::Health);
        }
        let (endpoint, rest) = Endpoint::ALL.into_iter().find_map(|endpoint| {
            let rest = path.strip_prefix('/')?.strip_prefix(endpoint.name())?;
            Some((endpoint, rest))
        })?;
        if rest.is_empty() {
            return Some(Self::All(endpoint));
        }
        let check = endpoint.check(rest.strip_prefix('/')?)?;
        Some(Self::One(endpoint, check))
    }
}

fn metrics(metrics: &Metrics) -> Response<Body> {
    metrics.http.scrapes_in_flight.inc();
    let encoded = metrics.encode();
    metrics.http.scrapes_in_flight.dec();
    match encoded {
        Ok(encoded) => {
            metrics.scraped("200");
            let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            text::typed(StatusCode::OK, kind, encoded)
        }
        Err(error) => {
            metrics.scraped("500");
            tracing::error!(%error, "metrics could not be encoded");
            text::plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"))
        }
    }
}

pub(super) fn version(versions: &Versions) -> Response<Body> {
    let cluster = versions.cluster.as_deref().unwrap_or("not_decided");
    let storage = versions.storage.as_deref().unwrap_or("unknown");
    let server = json!(version::API_VERSION);
    // By hand, as the order of the keys is part of the answer.
    let (cluster, storage) = (json!(cluster), json!(storage));
    let body =
        format!("{{\"etcdserver\":{server},\"etcdcluster\":{cluster},\"storage\":{storage}}}");
    text::json(StatusCode::OK, body)
}

/// Keys and values of a query; none of those served here need unescaping.
fn parse_query(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}
