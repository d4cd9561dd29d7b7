//! `--auto-promote-learners`: the leader makes voters of learners that have caught up.

use std::time::Duration;

use vetch_raft::{MemberChange, MemberChangeError, MemberRules, Platform, Replica};
use vetch_storage::NodeId;

/// How often the leader looks at its learners.
const PERIOD: Duration = Duration::from_secs(1);

/// Runs until it is aborted.
pub(super) async fn run<P: Platform>(replica: Replica<P>, rules: MemberRules) {
    loop {
        tokio::time::sleep(PERIOD).await;
        if replica.status().is_leader {
            promote_ready(&replica, rules).await;
        }
    }
}

async fn promote_ready<P: Platform>(replica: &Replica<P>, rules: MemberRules) {
    let learners: Vec<u64> = {
        let view = replica.view();
        let learners = view.members().iter().filter(|member| member.is_learner);
        learners.map(|member| member.id).collect()
    };
    for id in learners {
        let member = format!("{id:x}");
        match replica.change_membership(MemberChange::Promote(NodeId(id)), rules).await {
            Ok(_) => tracing::info!(member, "promoted a learner that has caught up"),
            Err(MemberChangeError::LearnerNotReady) => {}
            Err(error) => tracing::warn!(member, %error, "could not promote a learner"),
        }
    }
}
