//! The Cluster service. Its headers carry no revision.

use vetch_proto::etcdserverpb::{MemberListRequest, MemberListResponse};
use vetch_raft::Platform;

use super::api::Api;
use super::status::Refusal;

/// Cluster.MemberList: by ascending id.
pub async fn member_list<P: Platform>(
    api: &Api<P>,
    request: MemberListRequest,
) -> Result<MemberListResponse, Refusal> {
    let view = api.read_view(!request.linearizable).await?;
    let members = view.members().iter().cloned().collect();
    Ok(MemberListResponse { header: Some(api.header_without_revision()), members })
}
