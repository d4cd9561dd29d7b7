//! The Cluster service. Its headers carry no revision.

use std::time::{SystemTime, UNIX_EPOCH};

use vetch_proto::etcdserverpb::{
    Member, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse,
    MemberPromoteRequest, MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse,
    MemberUpdateRequest, MemberUpdateResponse,
};
use vetch_raft::manifest::identity::added_member_id;
use vetch_raft::{MemberChange, MemberChangeError, MemberRules, Platform};
use vetch_storage::NodeId;

use super::api::Api;
use super::status::Refusal;
use crate::config::Url;

/// Cluster.MemberList: by ascending id.
pub async fn member_list<P: Platform>(
    api: &Api<P>,
    request: MemberListRequest,
) -> Result<MemberListResponse, Refusal> {
    let view = api.read_view(!request.linearizable).await?;
    let members = view.members().iter().cloned().collect();
    Ok(MemberListResponse { header: Some(api.header_without_revision()), members })
}

/// Cluster.MemberAdd. The new member has no name until it has started.
pub async fn member_add<P: Platform>(
    api: &Api<P>,
    request: MemberAddRequest,
) -> Result<MemberAddResponse, Refusal> {
    let peer_urls = peer_urls(&request.peer_ur_ls)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let id = added_member_id(&peer_urls, now.as_secs());
    let member = Member {
        id: id.get(),
        peer_ur_ls: peer_urls.clone(),
        is_learner: request.is_learner,
        ..Member::default()
    };
    let change = MemberChange::Add { id, peer_urls, learner: request.is_learner };
    let members = change_membership(api, change).await?;
    let header = Some(api.header_without_revision());
    Ok(MemberAddResponse { header, member: Some(member), members })
}

/// Cluster.MemberRemove.
pub async fn member_remove<P: Platform>(
    api: &Api<P>,
    request: MemberRemoveRequest,
) -> Result<MemberRemoveResponse, Refusal> {
    let members = change_membership(api, MemberChange::Remove(NodeId(request.id))).await?;
    Ok(MemberRemoveResponse { header: Some(api.header_without_revision()), members })
}

/// Cluster.MemberUpdate: new peer URLs. They are checked before they enter the log, unlike in etcd.
pub async fn member_update<P: Platform>(
    api: &Api<P>,
    request: MemberUpdateRequest,
) -> Result<MemberUpdateResponse, Refusal> {
    let peer_urls = peer_urls(&request.peer_ur_ls)?;
    let change = MemberChange::Update { id: NodeId(request.id), peer_urls };
    let members = change_membership(api, change).await?;
    Ok(MemberUpdateResponse { header: Some(api.header_without_revision()), members })
}

/// Cluster.MemberPromote.
pub async fn member_promote<P: Platform>(
    api: &Api<P>,
    request: MemberPromoteRequest,
) -> Result<MemberPromoteResponse, Refusal> {
    let members = change_membership(api, MemberChange::Promote(NodeId(request.id))).await?;
    Ok(MemberPromoteResponse { header: Some(api.header_without_revision()), members })
}

async fn change_membership<P: Platform>(
    api: &Api<P>,
    change: MemberChange,
) -> Result<Vec<Member>, Refusal> {
    tracing::info!(?change, "a change of the cluster was asked for");
    let rules = api.limits.members;
    let unanswered = without_a_leader(&change, rules);
    match api.replica.change_membership(change, rules).await {
        Err(MemberChangeError::NoLeader) => Err(unanswered),
        changed => Ok(changed?),
    }
}

/// How etcd refuses a change that no leader was there for.
fn without_a_leader(change: &MemberChange, rules: MemberRules) -> Refusal {
    match change {
        MemberChange::Promote(_) => Refusal::NoLeader,
        // The member that is asked checks its connections itself there, and says so at once.
        MemberChange::Add { .. } | MemberChange::Remove(_) if rules.strict => {
            MemberChangeError::Unhealthy.into()
        }
        MemberChange::Add { .. } | MemberChange::Remove(_) | MemberChange::Update { .. } => {
            MemberChangeError::NoLeader.into()
        }
    }
}

/// Sorted, as etcd keeps them.
fn peer_urls(texts: &[String]) -> Result<Vec<String>, Refusal> {
    let urls: Result<Vec<Url>, String> = texts.iter().map(|text| Url::parse(text)).collect();
    let mut urls = urls.map_err(|_cause| Refusal::BadMemberUrls)?;
    if urls.is_empty() {
        return Err(Refusal::BadMemberUrls);
    }
    urls.sort();
    Ok(urls.iter().map(ToString::to_string).collect())
}
