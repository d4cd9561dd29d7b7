//! Maintenance.Snapshot: the state as a database file that etcd's tools read.

use std::sync::Arc;

use http::Response;
use vetch_raft::Platform;

use super::api::Api;
use super::body::AnswerBody;

/// Maintenance.Snapshot, as the response to send.
pub async fn snapshot<P: Platform>(api: &Arc<Api<P>>) -> Response<AnswerBody> {
    let _ = api;
    todo!()
}
