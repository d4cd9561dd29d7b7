//! The comparison before a member serves.

use std::path::Path;

use vetch_raft::Platform;
use vetch_storage::{Fatal, Revision};

use super::look::{Look, look, names};
use crate::rpc::Api;

/// Whether this member may serve: nobody has stored something else than it, or those who have are outvoted
/// by a quorum that has the same. Otherwise the node was told to stop.
///
/// Where etcd asks each member for its word and refuses if any differs, a member here that a quorum confirms
/// serves: it is the other one that must not.
pub(crate) async fn check<P: Platform>(api: &Api<P>, data_dir: &Path) -> bool {
    let mut looks = Vec::new();
    // Twice if need be: members compact at different moments.
    for _ in 0..2 {
        let Ok(look) = look(api, api.replica.view(), Revision(0)).await else { return false };
        let is_suspect = is_suspect(api, &look);
        looks.push(look);
        if !is_suspect {
            break;
        }
    }
    let last = looks.last().expect("there was one at least");
    if !is_suspect(api, last) {
        if !last.findings.wrong.is_empty() {
            let wrong = names(&last.findings.wrong);
            tracing::error!(
                wrong,
                "other members have stored something else than a quorum: {last}"
            );
        }
        return true;
    }
    api.stop(Fatal::Corrupt {
        location: format!("the history stored in {}", data_dir.display()),
        expected: "what the other members have stored".into(),
        found: format!("something else: {last}"),
    });
    false
}

fn is_suspect<P: Platform>(api: &Api<P>, look: &Look) -> bool {
    let me = api.identity.member_id;
    look.findings.wrong.contains(&me) || look.findings.disputed.contains(&me)
}
