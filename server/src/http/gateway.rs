//! What stands in the place of the JSON gateway until it is built.

use axum::body::Body;
use http::{Method, Response, StatusCode};

use super::text;

/// gRPC's UNIMPLEMENTED, in the gateway's shape.
pub(super) fn answer(method: &Method) -> Response<Body> {
    let message = if method == Method::POST {
        "vetch: the JSON gateway under /v3/ is not built yet; use gRPC on the same port"
    } else {
        "Method Not Allowed"
    };
    let body = format!("{{\"code\":12, \"message\":\"{message}\"}}");
    text::json(StatusCode::NOT_IMPLEMENTED, body)
}
