//! The comparison before a member serves.

use std::path::Path;

use vetch_raft::Platform;
use vetch_storage::{Fatal, Revision};

use super::judge::Findings;
use super::look::{Look, look, names};
use crate::rpc::{Api, Refusal};

/// Whether this member may serve: nobody has stored something else than it, or those who have are outvoted
/// by a quorum that has the same. Otherwise the node was told to stop.
///
/// Where etcd asks each member for its word and refuses if any differs, a member here that a quorum confirms
/// serves: it is the other one that must not.
pub(crate) async fn check<P: Platform>(api: &Api<P>, data_dir: &Path) -> bool {
    let mut found = suspicion(api).await;
    if let Ok(Some(_)) = found {
        // Members compact at different moments.
        found = suspicion(api).await;
    }
    match found {
        Ok(None) => true,
        Ok(Some(look)) => {
            api.stop(Fatal::Corrupt {
                location: format!("the history stored in {}", data_dir.display()),
                expected: "what the other members have stored".into(),
                found: format!("something else: {look}"),
            });
            false
        }
        Err(_stops) => false,
    }
}

/// Compares all members; `Some` when this one may be wrong.
async fn suspicion<P: Platform>(api: &Api<P>) -> Result<Option<Look>, Refusal> {
    let look = look(api, api.replica.view(), Revision(0)).await?;
    let (me, Findings { wrong, disputed }) = (api.identity.member_id, &look.findings);
    if wrong.contains(&me) || disputed.contains(&me) {
        return Ok(Some(look));
    }
    if !wrong.is_empty() {
        let wrong = names(wrong);
        tracing::error!(wrong, "other members have stored something else than a quorum: {look}");
    }
    Ok(None)
}
