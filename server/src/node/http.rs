//! What the HTTP handlers ask of a node.

use std::sync::Arc;

use serde_json::json;
use vetch_proto::etcdserverpb::{HashKvRequest, MemberPromoteRequest, RangeRequest};
use vetch_raft::Platform;
use vetch_storage::ReadView;
use vetch_storage::alarm::AlarmKind;

use crate::config;
use crate::http::{ClusterState, HealthProbe, HttpState, ProbeFuture, Versions};
use crate::rpc::{Api, Refusal, cluster, maintenance};
use crate::version::STORAGE_VERSION;

/// The handlers' view of a node.
pub(super) fn state<P: Platform>(api: &Arc<Api<P>>, http: config::Http) -> HttpState {
    let versions_api = Arc::clone(api);
    let raft_api = Arc::clone(api);
    HttpState {
        probe: probe(api),
        metrics: Arc::clone(&api.metrics),
        versions: Arc::new(move || {
            let cluster = versions_api.replica.view().cluster_version().map(str::to_owned);
            let storage = cluster.is_some().then(|| STORAGE_VERSION.to_owned());
            Versions { cluster, storage }
        }),
        raft_status: Arc::new(move || {
            let status = raft_api.replica.status();
            json!({
                "id": format!("{:x}", raft_api.identity.member_id.get()),
                "term": status.term.get(),
                "lead": status.leader.map_or("0".to_owned(), |id| format!("{:x}", id.get())),
                "commit": status.committed.get(),
                "applied": status.applied.get(),
                "raftState": if status.is_leader { "StateLeader" } else { "StateFollower" },
            })
        }),
        http,
    }
}

/// What the peer port tells of the cluster, and does for it.
pub(super) fn peer_port<P: Platform>(api: &Arc<Api<P>>) -> ClusterState {
    let (shown, changed, hashed) = (Arc::clone(api), Arc::clone(api), Arc::clone(api));
    ClusterState {
        cluster_id: format!("{:x}", api.identity.cluster_id.get()),
        members: Arc::new(move || shown.replica.view().members().iter().cloned().collect()),
        promote: Arc::new(move |id| {
            let api = Arc::clone(&changed);
            Box::pin(async move {
                let promoted = cluster::member_promote(&api, MemberPromoteRequest { id }).await?;
                Ok(promoted.members)
            })
        }),
        hash: Arc::new(move |revision| {
            let api = Arc::clone(&hashed);
            Box::pin(async move { maintenance::hash_kv(&api, HashKvRequest { revision }).await })
        }),
    }
}

fn probe<P: Platform>(api: &Arc<Api<P>>) -> HealthProbe {
    let (linearizable, serializable) = (Arc::clone(api), Arc::clone(api));
    let (alarms, leader, learner) = (Arc::clone(api), Arc::clone(api), Arc::clone(api));
    HealthProbe {
        linearizable_read: Arc::new(move || read(Arc::clone(&linearizable), false)),
        serializable_read: Arc::new(move || read(Arc::clone(&serializable), true)),
        alarms: Arc::new(move || {
            let view = alarms.replica.view();
            let raised = view.alarms().iter().map(|(_, kind)| kind.to_proto().as_str_name());
            let mut names: Vec<_> = raised.collect();
            let no_space = AlarmKind::NoSpace.to_proto().as_str_name();
            if alarms.space.is_low() && !names.contains(&no_space) {
                names.push(no_space);
            }
            names
        }),
        has_leader: Arc::new(move || leader.replica.status().leader.is_some()),
        is_learner: Arc::new(move || learner.replica.status().is_learner),
    }
}

/// A read of one key, as etcd's health checks do it.
fn read<P: Platform>(api: Arc<Api<P>>, serializable: bool) -> ProbeFuture {
    Box::pin(async move {
        let view = api.read_view(serializable).await.map_err(|refusal| text(&refusal))?;
        read_one(&api, &view).map_err(|refusal| text(&refusal))
    })
}

fn read_one<P: Platform>(api: &Api<P>, view: &ReadView<P::Engine>) -> Result<(), Refusal> {
    let request = RangeRequest {
        key: bytes::Bytes::from_static(&[0]),
        limit: 1,
        keys_only: true,
        ..Default::default()
    };
    view.range(&request).map(drop).map_err(|error| api.read_failed(error))
}

fn text(refusal: &Refusal) -> String {
    refusal.code_and_text().1.to_owned()
}
