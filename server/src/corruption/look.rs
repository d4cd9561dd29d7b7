//! One comparison of all members, and what is made of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use futures::future::join_all;
use vetch_raft::Platform;
use vetch_raft::replica::remedy;
use vetch_storage::alarm::{AlarmKind, NOBODY};
use vetch_storage::view::HashKv;
use vetch_storage::{NodeId, ReadView, Revision};

use super::judge::{Findings, judge};
use crate::rpc::{Api, Refusal, maintenance};

/// Others may take this many times as long for their hash as this member, and a moment more.
const SLOWER: u32 = 4;
const MOMENT: Duration = Duration::from_secs(10);

/// What all members say of their history up to a revision.
#[derive(Debug)]
pub(super) struct Look {
    revision: Revision,
    hashes: BTreeMap<NodeId, HashKv>,
    pub(super) findings: Findings,
    /// Every member was heard, and all hashed under the same compacted revision.
    pub(super) is_complete: bool,
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "up to revision {} the hashes of the history are", self.revision)?;
        for (member, HashKv { hash, compact_revision, .. }) in &self.hashes {
            let member = member.get();
            write!(f, " {hash:08x} (compacted at {compact_revision}) on member {member:x}")?;
        }
        Ok(())
    }
}

/// Hashes the history up to `revision`, 0 for all of it, here, and has every other member do so, which must
/// have applied what `view` has.
pub(super) async fn look<P: Platform>(
    api: &Api<P>,
    view: ReadView<P::Engine>,
    revision: Revision,
) -> Result<Look, Refusal> {
    let applied = view.applied().index;
    let members: Vec<NodeId> = view.members().iter().map(|member| NodeId(member.id)).collect();
    let began = Instant::now();
    let own = maintenance::hash_of(api, view, revision).await?;
    let patience = began.elapsed() * SLOWER + MOMENT;
    let me = api.identity.member_id;
    let others = members.iter().copied().filter(|member| *member != me);
    let asked = others.map(|other| async move {
        (other, api.replica.hash_of(other, own.hash_revision, applied, patience).await)
    });
    let mut hashes = BTreeMap::from([(me, own)]);
    for (other, answer) in join_all(asked).await {
        match answer {
            Ok(hash) => drop(hashes.insert(other, hash)),
            Err(error) => {
                let member = format!("{:x}", other.get());
                tracing::warn!(member, %error, revision = own.hash_revision.get(), "its history is not compared");
            }
        }
    }
    let is_complete = hashes.len() == members.len()
        && hashes.values().all(|hash| hash.compact_revision == own.compact_revision);
    let findings = judge(&api.replica.voters(), &hashes);
    Ok(Look { revision: own.hash_revision, hashes, findings, is_complete })
}

/// Says who was found wrong, and has the log say it.
pub(super) async fn report<P: Platform>(api: &Api<P>, look: &Look, confirmed: &Findings) {
    for member in &confirmed.wrong {
        if !is_raised(api, *member) {
            tracing::error!(
                "what member {:x} has stored differs from what a quorum of the voters has: {look}; {}",
                member.get(),
                remedy::replace_it("its data directory")
            );
            raise(api, *member).await;
        }
    }
    if !confirmed.disputed.is_empty() && !is_raised(api, NOBODY) {
        tracing::error!(
            "members have stored different things and none of it has a quorum of the voters, so nobody is \
             known to be right: {look}; {}",
            remedy::FIND_OUT
        );
        raise(api, NOBODY).await;
    }
}

fn is_raised<P: Platform>(api: &Api<P>, member: NodeId) -> bool {
    api.replica.view().alarms().names(member, AlarmKind::Corrupt)
}

async fn raise<P: Platform>(api: &Api<P>, member: NodeId) {
    let named = format!("{:x}", member.get());
    match maintenance::alarm(api, AlarmKind::Corrupt.activation(member)).await {
        Ok(_) => tracing::error!(member = named, "raised the CORRUPT alarm"),
        Err(refusal) => {
            let error = refusal.code_and_text().1;
            tracing::warn!(member = named, error, "the CORRUPT alarm is not raised yet");
        }
    }
}

/// Members of a set, for a message.
pub(super) fn names(members: &BTreeSet<NodeId>) -> String {
    let names: Vec<String> = members.iter().map(|member| format!("{:x}", member.get())).collect();
    names.join(", ")
}
