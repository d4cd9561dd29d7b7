//! The HTTP endpoints on a probe of our own making; expected answers were taken from etcd 3.7.1.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::sync::Arc;

use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;
use tower::ServiceExt;
use vetch_server::config::{Loaded, load};
use vetch_server::http::{
    HealthProbe, HttpState, ProbeFuture, Versions, client_router, metrics_router,
};
use vetch_server::metrics::Metrics;

/// How the member under test is.
#[derive(Clone, Copy)]
struct Member {
    alarm: Option<&'static str>,
    has_leader: bool,
    is_learner: bool,
    local_read: bool,
}

const WELL: Member = Member { alarm: None, has_leader: true, is_learner: false, local_read: true };

fn read(good: bool, error: &'static str) -> Arc<dyn Fn() -> ProbeFuture + Send + Sync> {
    Arc::new(move || {
        Box::pin(std::future::ready(if good { Ok(()) } else { Err(error.to_owned()) }))
    })
}

fn probe(member: Member) -> HealthProbe {
    HealthProbe {
        linearizable_read: read(member.has_leader, "etcdserver: request timed out"),
        serializable_read: read(member.local_read, "etcdserver: server stopped"),
        alarms: Arc::new(move || member.alarm.into_iter().collect()),
        has_leader: Arc::new(move || member.has_leader),
        is_learner: Arc::new(move || member.is_learner),
    }
}

fn state(member: Member, arguments: &[&str]) -> HttpState {
    let arguments: Vec<String> = arguments.iter().map(|&text| text.to_owned()).collect();
    let Loaded::Run(config) = load(&arguments, &[]).unwrap() else { panic!("not a run") };
    HttpState {
        probe: probe(member),
        metrics: Arc::new(Metrics::new(&config)),
        versions: Arc::new(|| Versions {
            cluster: Some("3.7.0".to_owned()),
            storage: Some("3.7.0".to_owned()),
        }),
        raft_status: Arc::new(|| json!({"term": 2})),
        http: config.http,
    }
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

async fn ask(router: axum::Router, request: Request<Body>) -> Answer {
    let response = router.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

async fn get(member: Member, uri: &str) -> (u16, String) {
    let answer = ask(client_router(state(member, &[])), request("GET", uri, &[])).await;
    (answer.status.as_u16(), answer.body)
}

#[tokio::test]
async fn health_gives_the_first_reason() {
    let bad = |reason: &str| (503, format!("{{\"health\":\"false\",\"reason\":\"{reason}\"}}\n"));
    let good = (200, "{\"health\":\"true\",\"reason\":\"\"}".to_owned());
    let full = Member { alarm: Some("NOSPACE"), ..WELL };
    let alone = Member { has_leader: false, ..WELL };
    let stopped = Member { local_read: false, ..WELL };
    assert_eq!(get(WELL, "/health").await, good);
    assert_eq!(get(full, "/health").await, bad("ALARM NOSPACE"));
    assert_eq!(get(full, "/health?exclude=NOSPACE").await, good);
    assert_eq!(get(full, "/health?exclude=CORRUPT").await, bad("ALARM NOSPACE"));
    assert_eq!(get(alone, "/health").await, bad("RAFT NO LEADER"));
    assert_eq!(get(alone, "/health?serializable=true").await, good);
    let reason = "RANGE ERROR:etcdserver: server stopped";
    assert_eq!(get(stopped, "/health?serializable=true").await, bad(reason));
}

#[tokio::test]
async fn livez_and_readyz_list_their_checks() {
    let ok = (200, "ok\n".to_owned());
    assert_eq!(get(WELL, "/livez").await, ok);
    assert_eq!(get(WELL, "/livez?exclude=serializable_read").await, ok);
    assert_eq!(get(WELL, "/readyz?exclude=foo").await, ok);
    let (status, body) = get(WELL, "/readyz?verbose").await;
    let mut lines: Vec<&str> = body.lines().collect();
    assert_eq!((status, lines.pop()), (200, Some("ok")));
    lines.sort_unstable();
    let expected = [
        "[+]data_corruption ok",
        "[+]linearizable_read ok",
        "[+]non_learner ok",
        "[+]serializable_read ok",
    ];
    assert_eq!(lines, expected);
    let single = get(WELL, "/readyz/non_learner?verbose").await;
    assert_eq!(single, (200, "[+]non_learner ok\nok\n".to_owned()));
    assert_eq!(get(WELL, "/livez/linearizable_read").await.0, 404, "it is a check of readyz");
}

#[tokio::test]
async fn a_failing_check_lists_all_without_ok() {
    let alone = Member { has_leader: false, ..WELL };
    let (status, body) = get(alone, "/readyz").await;
    assert_eq!(status, 503);
    assert!(body.contains("[-]linearizable_read failed: etcdserver: request timed out\n"));
    assert!(body.contains("[+]serializable_read ok\n") && body.ends_with(" ok\n\n"), "{body}");
    assert_eq!(get(alone, "/readyz?exclude=linearizable_read").await.0, 200);
    assert_eq!(get(alone, "/livez").await.0, 200);
    assert_eq!(get(Member { is_learner: true, ..WELL }, "/readyz/non_learner").await.0, 503);
    assert_eq!(get(Member { alarm: Some("NOSPACE"), ..WELL }, "/readyz").await.0, 200);
    assert_eq!(get(Member { alarm: Some("CORRUPT"), ..WELL }, "/readyz").await.0, 503);
}

#[tokio::test]
async fn other_methods_and_other_paths() {
    let router = || client_router(state(WELL, &[]));
    for uri in
        ["/health", "/livez", "/readyz", "/version", "/debug/vars", "/livez/serializable_read"]
    {
        for method in ["POST", "HEAD", "PUT"] {
            let answer = ask(router(), request(method, uri, &[])).await;
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {uri}");
            assert_eq!(answer.header("allow"), "GET");
            assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
        }
    }
    for uri in ["/", "/foo", "/livez/", "/health/", "/readyz/foo", "/livezz", "/v2/keys", "/é"] {
        let answer = ask(router(), request("GET", &uri.replace('é', "%C3%A9"), &[])).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (404, "404 page not found\n"));
    }
}

#[tokio::test]
async fn version_is_digits_in_etcds_order() {
    let answer = ask(client_router(state(WELL, &[])), request("GET", "/version", &[])).await;
    assert_eq!(answer.header("content-type"), "application/json");
    let expected = r#"{"etcdserver":"3.7.1","etcdcluster":"3.7.0","storage":"3.7.0"}"#;
    assert_eq!(answer.body, expected);
    let unknown = HttpState { versions: Arc::new(Versions::default), ..state(WELL, &[]) };
    let answer = ask(client_router(unknown), request("GET", "/version", &[])).await;
    let expected = r#"{"etcdserver":"3.7.1","etcdcluster":"not_decided","storage":"unknown"}"#;
    assert_eq!(answer.body, expected);
}

#[tokio::test]
async fn origins_are_told_whether_they_may_ask() {
    let any = || client_router(state(WELL, &[]));
    let one = || client_router(state(WELL, &["--cors=http://a.b:80"]));
    for uri in ["/version", "/foo"] {
        let answer = ask(any(), request("GET", uri, &[])).await;
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        let methods = "POST, GET, OPTIONS, PUT, DELETE";
        assert_eq!(answer.header("access-control-allow-methods"), methods);
        let headers = "accept, content-type, authorization";
        assert_eq!(answer.header("access-control-allow-headers"), headers);
    }
    let answer = ask(one(), request("GET", "/version", &[("origin", "http://a.b:80")])).await;
    assert_eq!(answer.header("access-control-allow-origin"), "http://a.b:80");
    for headers in [&[("origin", "http://x")][..], &[]] {
        let answer = ask(one(), request("GET", "/version", headers)).await;
        assert_eq!(answer.header("access-control-allow-origin"), "");
    }
    let answer = ask(any(), request("OPTIONS", "/anything", &[])).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, ""));
}

#[tokio::test]
async fn hosts_that_are_not_on_the_list_are_misdirected() {
    let arguments = &["--host-whitelist=127.0.0.1,::1"];
    let router = || client_router(state(WELL, arguments));
    for (host, status) in
        [("127.0.0.1:2379", 200), ("127.0.0.1", 200), ("[::1]:2379", 200), ("evil.com", 421)]
    {
        let answer = ask(router(), request("GET", "/version", &[("host", host)])).await;
        assert_eq!(answer.status.as_u16(), status, "{host}");
        assert!(status == 200 || answer.body.contains("--host-whitelist \"evil.com\""));
    }
    let metrics = metrics_router(state(WELL, arguments));
    let answer = ask(metrics, request("GET", "/livez", &[("host", "evil.com")])).await;
    assert_eq!(answer.status, StatusCode::OK, "the list is for clients");
}

#[tokio::test]
async fn the_gateway_says_that_it_is_not_built() {
    let on = || client_router(state(WELL, &[]));
    let answer = ask(on(), request("POST", "/v3/kv/range", &[])).await;
    assert_eq!(answer.status, StatusCode::NOT_IMPLEMENTED);
    assert_eq!(answer.header("content-type"), "application/json");
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(body["code"], 12);
    assert!(body["message"].as_str().unwrap().contains("not built yet"));
    let answer = ask(on(), request("GET", "/v3/kv/range", &[])).await;
    assert_eq!(answer.body, r#"{"code":12, "message":"Method Not Allowed"}"#);
    let off = client_router(state(WELL, &["--enable-grpc-gateway=false"]));
    assert_eq!(ask(off, request("POST", "/v3/kv/range", &[])).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn metrics_listeners_serve_metrics_and_health_alone() {
    let state = state(WELL, &[]);
    let router = || metrics_router(state.clone());
    for uri in ["/health", "/livez", "/readyz", "/readyz/non_learner", "/metrics"] {
        let answer = ask(router(), request("GET", uri, &[])).await;
        assert_eq!(answer.status, StatusCode::OK, "{uri}");
        assert_eq!(answer.header("access-control-allow-origin"), "");
    }
    for uri in ["/version", "/debug/vars", "/v3/kv/range"] {
        let answer = ask(router(), request("GET", uri, &[])).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{uri}");
    }
    let answer = ask(router(), request("GET", "/metrics", &[])).await;
    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"));
    for line in [
        "etcd_server_health_success 1",
        "promhttp_metric_handler_requests_total{code=\"200\"} 1",
        "etcd_server_healthchecks_total{type=\"readyz\",name=\"non_learner\",status=\"success\"} 2",
    ] {
        assert!(answer.body.lines().any(|found| found == line), "{line}\n{}", answer.body);
    }
}

#[tokio::test]
async fn debug_vars_hold_what_is_true_here() {
    let answer = ask(client_router(state(WELL, &[])), request("GET", "/debug/vars", &[])).await;
    let vars: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(vars["raft.status"]["term"], 2);
    assert!(vars["file_descriptor_limit"].as_u64().unwrap() > 0);
    assert!(vars["cmdline"].as_array().is_some_and(|arguments| !arguments.is_empty()));
}
