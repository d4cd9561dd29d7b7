//! Plain answers, with the headers Go's `http.Error` gives them.

use axum::body::Body;
use http::header::{ALLOW, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};

const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// `body` as text that no browser may take for something else.
pub(super) fn plain(status: StatusCode, body: String) -> Response<Body> {
    let mut response = unguarded(status, body);
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// `body` as text.
pub(super) fn unguarded(status: StatusCode, body: String) -> Response<Body> {
    typed(status, PLAIN, body)
}

/// `body` as JSON.
pub(super) fn json(status: StatusCode, body: String) -> Response<Body> {
    typed(status, JSON, body)
}

/// `body` of the given type.
pub(super) fn typed(status: StatusCode, kind: HeaderValue, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// For a path that is not served.
pub(super) fn not_found() -> Response<Body> {
    plain(StatusCode::NOT_FOUND, "404 page not found\n".to_owned())
}

/// For a method other than GET.
pub(super) fn only_get() -> Response<Body> {
    only("GET")
}

/// For a method other than this one.
pub(super) fn only(method: &'static str) -> Response<Body> {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n".to_owned());
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(method));
    response
}
