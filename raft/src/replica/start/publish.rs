//! From an open replica to one that its group knows.

use openraft_rt::{AsyncRuntime, Select2};
use vetch_proto::etcdserverpb::Member;
use vetch_proto::vetchpb::proposal::Command;
use vetch_proto::vetchpb::{MemberPublish, Proposal};

use crate::platform::Platform;
use crate::replica::stop::StopReason;
use crate::replica::{OpenError, Replica};

/// Whether this member is the only voter.
pub(super) async fn is_alone<P: Platform>(replica: &Replica<P>) -> bool {
    let node = replica.inner.identity.member.0;
    let alone = replica.inner.raft.with_raft_state(move |state| {
        state.membership_state.effective().membership().voter_ids().eq([node])
    });
    alone.await.unwrap_or(true)
}

/// A lone voter has nobody to wait for: it campaigns at once instead of after an election timeout,
/// and serves when it has applied its log.
pub(super) async fn lead<P: Platform>(replica: &Replica<P>) -> Result<(), OpenError> {
    let inner = &replica.inner;
    drop(inner.raft.trigger().elect(false).await);
    match P::Runtime::select2(inner.stop.reason(), inner.leadership.until_leading()).await {
        Select2::First(reason) => {
            replica.shutdown().await;
            Err(match reason {
                StopReason::Failed(fatal) => fatal.into(),
                StopReason::Removed => OpenError::Removed,
                StopReason::Diverged { divergence, data_dir } => OpenError::Diverged {
                    data_dir: data_dir.display().to_string(),
                    what: divergence.to_string(),
                },
            })
        }
        Select2::Second(()) => Ok(()),
    }
}

/// Publishes until the group has taken it.
pub(super) async fn keep_publishing<P: Platform>(replica: Replica<P>, member: Member) {
    while !replica.inner.stop.has_begun() {
        // What this member knows may be old: a view that a leader confirmed says what to publish.
        if replica.linearizable_view().await.is_ok() && publish(&replica, &member).await {
            return;
        }
    }
}

/// Tells the group what this member's flags say now, when it knows otherwise.
pub(super) async fn publish<P: Platform>(replica: &Replica<P>, member: &Member) -> bool {
    let id = replica.inner.identity.member;
    let Some(known) = replica.view().members().get(id).cloned() else { return false };
    if known.name != member.name || known.client_ur_ls != member.client_ur_ls {
        let (name, client_ur_ls) = (member.name.clone(), member.client_ur_ls.clone());
        // Where peers reach it is not its own to say: it may be moved at this very moment.
        let record = Member { name, client_ur_ls, peer_ur_ls: Vec::new(), ..known };
        let command = Command::MemberPublish(MemberPublish { member: Some(record) });
        let proposal = Proposal { command: Some(command), ..Proposal::default() };
        if let Err(error) = replica.propose(proposal).await {
            tracing::warn!(%error, "could not publish this member's name and client URLs");
            return false;
        }
    }
    replica.inner.published.set(true);
    true
}
