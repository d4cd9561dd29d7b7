//! Comparisons that the leader makes again and again.

use std::sync::Arc;
use std::time::Duration;

use vetch_raft::Platform;
use vetch_storage::Revision;

use super::look::{Look, look, report};
use crate::rpc::Api;

/// `--corrupt-check-time`: everything that is stored, read again on every member. Runs until it is aborted.
pub(crate) async fn check_histories<P: Platform>(api: Arc<Api<P>>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        if api.replica.status().is_leader {
            drop(check(&api, Revision(0)).await);
        }
    }
}

/// `CompactHashCheck`: the hashes that compactions have taken, at no further cost. Runs until it is
/// aborted.
pub(crate) async fn check_compactions<P: Platform>(api: Arc<Api<P>>, every: Duration) {
    // All members were found to agree up to here.
    let mut agreed = Revision(0);
    loop {
        tokio::time::sleep(every).await;
        if !api.replica.status().is_leader {
            continue;
        }
        let revisions = match api.replica.view().compaction_hashes() {
            Ok(hashes) => hashes.into_iter().map(|hash| hash.hash_revision),
            Err(fatal) => {
                api.stop(fatal);
                return;
            }
        };
        // The newest says most; members that have not come so far may have an older one in common.
        for revision in revisions.rev().take_while(|revision| *revision > agreed) {
            match check(&api, revision).await {
                Some(look) if look.is_complete => {
                    agreed = revision;
                    break;
                }
                Some(_) => {}
                None => break,
            }
        }
    }
}

/// Compares all members, and reports whoever differs twice: members compact at different moments, and an
/// alarm stops all writes. `None` when this member cannot compare now.
async fn check<P: Platform>(api: &Api<P>, revision: Revision) -> Option<Look> {
    let first = look_now(api, revision).await?;
    if first.findings.is_empty() {
        tracing::debug!(%first, "compared");
        return Some(first);
    }
    let again = look_now(api, revision).await?;
    report(api, &again, &first.findings.confirmed_by(&again.findings)).await;
    Some(again)
}

async fn look_now<P: Platform>(api: &Api<P>, revision: Revision) -> Option<Look> {
    let view = match api.replica.linearizable_view().await {
        Ok(view) => view,
        Err(error) => {
            tracing::warn!(%error, "the members' histories are not compared now");
            return None;
        }
    };
    // What is refused is gone by now, or this member stops.
    look(api, view, revision).await.ok()
}
