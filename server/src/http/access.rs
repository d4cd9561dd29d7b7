//! Who may ask: the Host header and the Origin header.

use axum::body::Body;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, HOST,
    ORIGIN,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::text;
use crate::config::{Http, Origins};

/// An answer that ends the request early: a host that is not on the list, or OPTIONS.
pub(super) fn answer_early(http: &Http, request: &Parts) -> Option<Response<Body>> {
    let host = requested_host(request);
    if !http.host_whitelist.allows(&host) {
        tracing::warn!(host, "rejecting HTTP request to prevent DNS rebinding attacks");
        return Some(text::plain(StatusCode::MISDIRECTED_REQUEST, misdirected(&host)));
    }
    (request.method == Method::OPTIONS).then(|| Response::new(Body::empty()))
}

/// The host that was asked for, without its port.
fn requested_host(request: &Parts) -> String {
    let header = request.headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = header.or_else(|| request.uri.authority().map(http::uri::Authority::as_str));
    let host = host.unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    name.trim_start_matches('[').trim_end_matches(']').to_owned()
}

fn misdirected(host: &str) -> String {
    format!(
        "The Host header of this request, {host:?}, is not on the list of accepted hosts, which \
         protects from DNS rebinding (CVE-2018-5702).\n\nEither ask by an accepted name, or add this \
         one:\n  --host-whitelist {host:?}\n"
    )
}

/// The `Origin` to be told that it may ask, or nothing.
pub(super) fn allowed_origin(http: &Http, headers: &HeaderMap) -> Option<HeaderValue> {
    match &http.cors {
        Origins::Any => Some(HeaderValue::from_static("*")),
        Origins::Only(_) => {
            let origin = headers.get(ORIGIN)?;
            http.cors.allows(origin.to_str().ok()?).then(|| origin.clone())
        }
    }
}

/// Tells a browser that it may ask.
pub(super) fn add_cors(response: &mut Response<Body>, origin: HeaderValue) {
    let headers = response.headers_mut();
    let methods = HeaderValue::from_static("POST, GET, OPTIONS, PUT, DELETE");
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    let allowed = HeaderValue::from_static("accept, content-type, authorization");
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
}
