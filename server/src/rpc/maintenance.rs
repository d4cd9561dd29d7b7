//! The Maintenance service.

use std::time::Instant;

use vetch_proto::etcdserverpb::alarm_request::AlarmAction;
use vetch_proto::etcdserverpb::{
    AlarmRequest, AlarmResponse, AlarmType, DefragmentResponse, DowngradeInfo, HashKvRequest,
    HashKvResponse, HashResponse, MoveLeaderRequest, MoveLeaderResponse, StatusResponse,
};
use vetch_proto::vetchpb::proposal::Command;
use vetch_raft::Platform;
use vetch_storage::engine::Budget;
use vetch_storage::view::HashKv;
use vetch_storage::{Engine, NodeId, ReadView, Response, Revision};

use super::api::{Api, encoded_len};
use super::status::Refusal;
use crate::metrics::Metrics;
use crate::snapshot_file;
use crate::version::{API_VERSION, STORAGE_VERSION};

/// Maintenance.Status: what this member knows, leader or not.
pub fn status<P: Platform>(api: &Api<P>) -> StatusResponse {
    let view = api.replica.view();
    let raft = api.replica.status();
    let sizes = view.sizes();
    // Never 0: etcdctl divides by it.
    let size = |bytes: u64| i64::try_from(bytes.max(1)).unwrap_or(i64::MAX);
    StatusResponse {
        header: Some(api.header(view.revision())),
        version: API_VERSION.to_owned(),
        db_size: size(sizes.on_disk.max(sizes.live)),
        leader: raft.leader.map_or(0, NodeId::get),
        raft_index: raft.committed.get(),
        raft_term: raft.term.get(),
        raft_applied_index: raft.applied.get(),
        errors: status_errors(&view, raft.leader.is_some()),
        db_size_in_use: size(sizes.live),
        is_learner: raft.is_learner,
        storage_version: STORAGE_VERSION.to_owned(),
        db_size_quota: api
            .quota
            .limit()
            .map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
        downgrade_info: Some(DowngradeInfo::default()),
    }
}

fn status_errors<E: Engine>(view: &ReadView<E>, has_leader: bool) -> Vec<String> {
    let no_leader = (!has_leader).then(|| "etcdserver: no leader".to_owned());
    let alarms = view.alarms().iter().map(|(member, kind)| {
        format!("memberID:{} alarm:{} ", member.get(), kind.to_proto().as_str_name())
    });
    no_leader.into_iter().chain(alarms).collect()
}

/// Maintenance.Alarm. Every action goes through the log, reading included, as in etcd.
pub async fn alarm<P: Platform>(
    api: &Api<P>,
    request: AlarmRequest,
) -> Result<AlarmResponse, Refusal> {
    let known =
        AlarmAction::try_from(request.action).is_ok() && AlarmType::try_from(request.alarm).is_ok();
    if !known {
        return Err(Refusal::InvalidAlarmAction);
    }
    let len = encoded_len(&request);
    match api.propose(Command::Alarm(request), len).await? {
        (Response::Alarm(mut answer), revision) => {
            answer.header = Some(api.header(revision));
            Ok(answer)
        }
        (other, _) => unreachable!("an alarm request was answered with {other:?}"),
    }
}

/// Maintenance.MoveLeader: on the leader only; answered when the target leads. The answer has no header.
pub async fn move_leader<P: Platform>(
    api: &Api<P>,
    request: MoveLeaderRequest,
) -> Result<MoveLeaderResponse, Refusal> {
    api.replica.transfer_leadership(NodeId(request.target_id)).await?;
    Ok(MoveLeaderResponse { header: None })
}

/// Maintenance.Defragment: a bounded nudge to the engine, off the commit path; the engine reclaims
/// space by itself all along. The answer has no header.
pub async fn defragment<P: Platform>(api: &Api<P>) -> Result<DefragmentResponse, Refusal> {
    let (engine, disk) = (api.replica.view(), api.metrics.disk.clone());
    let nudge = move || {
        let began = Instant::now();
        disk.defrag_inflight.inc();
        let nudged = engine.maintain(DEFRAGMENT_BUDGET);
        disk.defrag_inflight.dec();
        disk.defrag.observe(Metrics::seconds(began.elapsed()));
        nudged
    };
    let nudged = tokio::task::spawn_blocking(nudge).await;
    match nudged {
        Ok(Ok(_more)) => Ok(DefragmentResponse { header: None }),
        Ok(Err(fatal)) => Err(api.stop(fatal)),
        Err(_cancelled_at_shutdown) => Err(Refusal::Stopped),
    }
}

/// How much one Defragment call may rewrite.
const DEFRAGMENT_BUDGET: Budget = Budget { bytes: 16 * 1024 * 1024 };

/// Maintenance.Hash: over the database file an export would hold.
pub async fn hash<P: Platform>(api: &Api<P>) -> Result<HashResponse, Refusal> {
    let view = api.replica.view();
    let revision = view.revision();
    let began = Instant::now();
    let hashed = tokio::task::spawn_blocking(move || snapshot_file::hash(&view)).await;
    api.metrics.mvcc.hash_duration.observe(Metrics::seconds(began.elapsed()));
    match hashed {
        Ok(Ok(hash)) => Ok(HashResponse { header: Some(api.header(revision)), hash }),
        Ok(Err(fatal)) => Err(api.stop(fatal)),
        Err(_cancelled_at_shutdown) => Err(Refusal::Stopped),
    }
}

/// Maintenance.HashKV: etcd's value for the same history.
pub async fn hash_kv<P: Platform>(
    api: &Api<P>,
    request: HashKvRequest,
) -> Result<HashKvResponse, Refusal> {
    let view = api.replica.view();
    let current = view.revision();
    let hash = hash_of(api, view, Revision(request.revision)).await?;
    Ok(HashKvResponse {
        header: Some(api.header(current)),
        hash: hash.hash,
        compact_revision: hash.compact_revision,
        hash_revision: hash.hash_revision.get(),
    })
}

/// `HashKV` of a view up to `revision`, away from the tasks of the runtime.
pub(crate) async fn hash_of<P: Platform>(
    api: &Api<P>,
    view: ReadView<P::Engine>,
    revision: Revision,
) -> Result<HashKv, Refusal> {
    let began = Instant::now();
    let hashed = tokio::task::spawn_blocking(move || view.hash_kv(revision)).await;
    api.metrics.mvcc.hash_rev_duration.observe(Metrics::seconds(began.elapsed()));
    match hashed {
        Ok(hash) => hash.map_err(|error| api.read_failed(error)),
        Err(_cancelled_at_shutdown) => Err(Refusal::Stopped),
    }
}
