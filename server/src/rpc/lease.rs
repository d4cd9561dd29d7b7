//! The Lease service.

use vetch_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
    LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseStatus,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use vetch_proto::vetchpb::proposal::Command;
use vetch_raft::{Platform, ProposeError};
use vetch_storage::{LeaseId, Response};

use super::api::{Api, encoded_len};
use super::kv::admit_growth;
use super::quota::LEASE_GRANT_COST;
use super::status::Refusal;

/// The longest lease etcd grants, in seconds.
const MAX_TTL: i64 = 9_000_000_000;

/// Lease.LeaseGrant. The id is chosen here, before the log, when the client leaves it open; a TTL
/// below the least is raised.
pub async fn grant<P: Platform>(
    api: &Api<P>,
    mut request: LeaseGrantRequest,
) -> Result<LeaseGrantResponse, Refusal> {
    if request.ttl > MAX_TTL {
        return Err(Refusal::LeaseTtlTooLarge);
    }
    admit_growth(api, LEASE_GRANT_COST).await?;
    request.ttl = request.ttl.max(api.leases.min_ttl());
    let server_chooses = request.id == 0;
    loop {
        if server_chooses {
            request.id = api.leases.new_id().get();
        }
        let len = encoded_len(&request);
        let outcome = api.propose(Command::LeaseGrant(request), len).await;
        return match outcome {
            Ok((Response::LeaseGrant { id, ttl }, revision)) => Ok(LeaseGrantResponse {
                header: Some(api.header(revision)),
                id: id.get(),
                ttl,
                error: String::new(),
            }),
            Ok((other, _)) => unreachable!("a grant was answered with {other:?}"),
            Err(Refusal::Apply(vetch_storage::ApplyError::LeaseExists(_))) if server_chooses => {
                continue;
            }
            Err(refusal) => Err(refusal),
        };
    }
}

/// Lease.LeaseRevoke: the lease and its keys go in one revision.
pub async fn revoke<P: Platform>(
    api: &Api<P>,
    request: LeaseRevokeRequest,
) -> Result<LeaseRevokeResponse, Refusal> {
    let len = encoded_len(&request);
    let (_, revision) = api.propose(Command::LeaseRevoke(request), len).await?;
    Ok(LeaseRevokeResponse { header: Some(api.header(revision)) })
}

/// One renewal of a Lease.LeaseKeepAlive stream. The header is as of before the renewal; a lease that
/// is gone is answered with TTL 0, and the stream goes on.
pub async fn keep_alive<P: Platform>(
    api: &Api<P>,
    request: LeaseKeepAliveRequest,
) -> Result<LeaseKeepAliveResponse, Refusal> {
    let header = Some(api.header(api.replica.view().revision()));
    let renewed = api.leases.renew(LeaseId(request.id)).await;
    let ttl = renewed.map_err(|refusal| unless_leaderless(api, refusal))?;
    Ok(LeaseKeepAliveResponse { header, id: request.id, ttl: ttl.unwrap_or(0) })
}

/// Lease.LeaseTimeToLive. An unknown lease is answered with TTL -1.
pub async fn time_to_live<P: Platform>(
    api: &Api<P>,
    request: LeaseTimeToLiveRequest,
) -> Result<LeaseTimeToLiveResponse, Refusal> {
    let id = LeaseId(request.id);
    let remaining = api.leases.remaining(id).await;
    let remaining = remaining.map_err(|refusal| unless_leaderless(api, refusal))?;
    let view = api.replica.view();
    let header = Some(api.header(view.revision()));
    let lease = view.leases().get(id);
    let (Some(remaining), Some(lease)) = (remaining, lease) else {
        return Ok(LeaseTimeToLiveResponse {
            header,
            id: request.id,
            ttl: -1,
            ..Default::default()
        });
    };
    let keys = if request.keys { lease.keys.iter().cloned().collect() } else { Vec::new() };
    Ok(LeaseTimeToLiveResponse {
        header,
        id: request.id,
        ttl: remaining,
        granted_ttl: lease.ttl,
        keys,
    })
}

/// Why the leader's clock was not heard in time: there was no leader, as etcd says then.
fn unless_leaderless<P: Platform>(api: &Api<P>, refusal: Refusal) -> Refusal {
    let late = matches!(refusal, Refusal::Propose(ProposeError::TimedOut));
    if late && api.replica.status().leader.is_none() { Refusal::NoLeader } else { refusal }
}

/// Lease.LeaseLeases: soonest expiry first on the leader.
pub fn leases<P: Platform>(api: &Api<P>) -> LeaseLeasesResponse {
    let header = Some(api.header(api.replica.view().revision()));
    let leases = api.leases.list().into_iter().map(|id| LeaseStatus { id: id.get() }).collect();
    LeaseLeasesResponse { header, leases }
}
