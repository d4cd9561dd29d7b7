//! What an operator does, and how he sees that it is done.

use super::*;

pub(crate) fn add(id: u64, learner: bool) -> MemberChange {
    MemberChange::Add { id: NodeId(id), peer_urls: member(id).peer_ur_ls, learner }
}

pub(crate) fn remove(id: u64) -> MemberChange {
    MemberChange::Remove(NodeId(id))
}

pub(super) const LAX: MemberRules = MemberRules { strict: false, max_learners: 1 };

impl Cluster {
    pub(super) async fn change(
        &self,
        via: u64,
        change: MemberChange,
    ) -> Result<Vec<Member>, MemberChangeError> {
        self.replica(via).change_membership(change, MemberRules::default()).await
    }

    /// As [`change`](Self::change), again and again as an operator would while the group has no leader
    /// or is not healthy, until the table of member `via` shows it.
    pub(crate) async fn insist(&self, via: u64, change: MemberChange) {
        let began = SimInstant::now();
        loop {
            let changed = self.change(via, change.clone()).await;
            let view = self.replica(via).linearizable_view().await;
            if view.is_ok_and(|view| shows(&view, &change)) {
                return;
            }
            assert!(changed.is_err(), "{change:?} succeeded and is not there");
            assert!(began.elapsed() < LONG, "{change:?} is never made: {changed:?}");
            SimRuntime::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Those who vote, as member `id` knows it.
    pub(crate) fn voters(&self, id: u64) -> Vec<u64> {
        let metrics = self.replica(id).inner.metrics.borrow_watched();
        metrics.membership_config.membership().voter_ids().collect()
    }

    /// Waits until every running member has these voters.
    pub(crate) async fn until_voters(&self, voters: &[u64]) {
        let all = |cluster: &Self| cluster.replicas.keys().all(|id| cluster.voters(*id) == voters);
        self.until(&format!("voters {voters:?}"), all).await;
    }

    /// Adds a voter, starts it, and waits until it votes; `name`d writes go on.
    pub(super) async fn grow(&mut self, via: u64, id: u64, name: &str) {
        futures::join!(self.insist(via, add(id, false)), self.load(name, 20));
        self.join(id).await;
        let mut voters = self.voters(via);
        voters.push(id);
        let name = format!("{name}, joined");
        futures::join!(self.until_voters(&voters), self.load(&name, 20));
        self.replica(id).published().await;
    }

    /// Removes a member, and waits until it stops by itself for that reason.
    pub(super) async fn shrink(&mut self, via: u64, id: u64, name: &str) {
        let leaving = self.replicas.remove(&id).unwrap();
        futures::join!(self.insist(via, remove(id)), self.load(name, 20));
        assert_removed(&leaving).await;
        leaving.shutdown().await;
    }

    pub(super) fn names(&self, via: u64) -> Vec<String> {
        self.replica(via).view().members().iter().map(|member| member.name.clone()).collect()
    }
}

pub(super) fn shows(view: &ReadView<MemEngine>, change: &MemberChange) -> bool {
    let members = view.members();
    match change {
        MemberChange::Add { id, .. } => members.get(*id).is_some(),
        MemberChange::Promote(id) => members.get(*id).is_some_and(|member| !member.is_learner),
        MemberChange::Remove(id) => members.is_removed(*id),
        MemberChange::Update { id, peer_urls } => {
            members.get(*id).is_some_and(|member| member.peer_ur_ls == *peer_urls)
        }
    }
}

pub(crate) async fn assert_removed(replica: &Replica<Sim>) {
    let reason = SimRuntime::timeout(LONG, replica.fatal()).await.expect("it never stops");
    assert!(matches!(reason, StopReason::Removed), "{reason}");
}
