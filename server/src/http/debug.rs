//! `/debug/vars`: the part of etcd's that means something here.

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use super::text;

/// `cmdline`, `file_descriptor_limit` and `raft.status`; `memstats` are Go's and left out.
pub(super) fn answer(raft_status: &Value) -> Response<Body> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let arguments: Vec<String> =
        std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let vars = json!({
        "cmdline": arguments,
        "file_descriptor_limit": limit,
        "raft.status": raft_status,
    });
    let kind = HeaderValue::from_static("application/json; charset=utf-8");
    text::typed(StatusCode::OK, kind, format!("{vars}\n"))
}
