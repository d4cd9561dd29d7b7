//! A cluster of one made of what is left of another.

use super::membership::assert_removed;
use super::*;
use crate::disk::sim::Fault;

impl Cluster {
    async fn force(&mut self, id: u64) -> Result<(), OpenError> {
        let flags = Start { bootstrap: Bootstrap::ForceNew, ..self.flags(id) };
        let replica = Replica::open(self.machines[&id].clone(), flags).await?;
        self.replicas.insert(id, replica);
        Ok(())
    }
}

fn add(id: u64, learner: bool) -> MemberChange {
    MemberChange::Add { id: NodeId(id), peer_urls: member(id).peer_ur_ls, learner }
}

#[test]
fn what_one_of_three_has_goes_on_alone_and_grows_again() {
    on_cluster(1, async {
        let mut cluster = Cluster::start(1, 3).await;
        cluster.load("three", 20).await;
        cluster.check("three").await;
        let before = cluster.replica(1).identity();
        cluster.power_cut(2);
        cluster.power_cut(3);
        cluster.kill(1);
        cluster.force(1).await.unwrap();
        let identity = cluster.replica(1).identity();
        assert_eq!((identity.member, identity.instance), (before.member, before.instance));
        assert_ne!(identity.cluster, before.cluster);
        cluster.check("alone").await;
        let view = cluster.replica(1).view();
        assert_eq!(view.members().iter().map(|member| member.id).collect::<Vec<_>>(), [1]);
        assert!(view.members().is_removed(NodeId(2)) && view.members().is_removed(NodeId(3)));

        // The others are another cluster now, and stay one.
        let (here, term) = (cluster.replicas.remove(&1).unwrap(), view.applied().term);
        cluster.boot(2).await;
        cluster.boot(3).await;
        let other = cluster.leader().await;
        assert_ne!(other, 1);
        cluster.replica(other).propose(put("there", "")).await.unwrap();
        here.propose(put("here", "")).await.unwrap();
        assert_eq!(here.status().leader, Some(NodeId(1)));
        assert_eq!(here.status().term, term, "their elections are none of its business");
        for id in [2, 3] {
            cluster.replicas.remove(&id).unwrap().shutdown().await;
        }

        // The flag left on changes nothing more.
        here.shutdown().await;
        drop(here);
        cluster.force(1).await.unwrap();
        assert_eq!(cluster.replica(1).identity(), identity);
        let grown = cluster.replica(1).change_membership(add(4, true), MemberRules::default());
        grown.await.unwrap();
        let flags = Start { cluster: identity.cluster, ..cluster.flags(4) };
        let learner = Replica::open(Sim::on(&cluster.network, 44), flags).await.unwrap();
        cluster.replicas.insert(4, learner);
        cluster.replica(4).published().await;
        cluster.converged("a learner in the new cluster").await;

        // With a learner there is somebody to leave behind again.
        cluster.replica(1).shutdown().await;
        cluster.replicas.remove(&1);
        cluster.force(1).await.unwrap();
        assert_ne!(cluster.replica(1).identity().cluster, identity.cluster);
        assert_eq!(cluster.replica(1).view().members().iter().count(), 1);
        cluster.replicas.remove(&4).unwrap().shutdown().await;
        cluster.shutdown().await;
    });
}

/// Whatever was written when the power went out: the next start, with the flag or without it, finds
/// the old group or completes the new one.
#[test]
fn a_power_cut_at_any_step_leaves_the_old_group_or_completes_the_new_one() {
    let (mut old, mut new) = (0, 0);
    for (part, step) in (0..14).flat_map(|step| [("", step), ("member/wal", step)]) {
        on_cluster(2, async {
            let context = format!("{part}, step {step}");
            let mut cluster = Cluster::start(2, 3).await;
            cluster.load("three", 5).await;
            cluster.check("three").await;
            for id in 1..=3 {
                cluster.kill(id);
            }
            let disk = cluster.machines[&1].disk(&data_dir().join(part));
            disk.inject(Fault::PowerCut { at: disk.steps() + step });
            let forced = SimRuntime::timeout(Duration::from_secs(5), Box::pin(cluster.force(1)));
            drop(forced.await);
            cluster.replicas.remove(&1);
            let after = cluster.machines[&1].power_cut(step);
            cluster.machines.insert(1, after);
            cluster.boot(1).await;
            let cluster_id = cluster.replica(1).identity().cluster;
            if cluster_id == ClusterId(3) {
                old += 1;
                cluster.boot(2).await;
                cluster.boot(3).await;
                cluster.leader().await;
            } else {
                new += 1;
                assert_eq!(cluster.replica(1).view().members().iter().count(), 1, "{context}");
                assert_eq!(cluster.replica(1).status().leader, Some(NodeId(1)), "{context}");
            }
            cluster.check(&context).await;
            cluster.shutdown().await;
        });
    }
    assert!(old > 0 && new > 5, "{old} old, {new} new");
}

/// A member of a forced cluster that was removed learns it as ever.
#[test]
fn a_forced_cluster_removes_members_as_ever() {
    on_cluster(3, async {
        let mut cluster = Cluster::start(3, 2).await;
        cluster.load("two", 5).await;
        cluster.kill(1);
        cluster.kill(2);
        cluster.force(2).await.unwrap();
        let identity = cluster.replica(2).identity();
        cluster.replica(2).change_membership(add(3, false), MemberRules::default()).await.unwrap();
        let flags = Start { cluster: identity.cluster, ..cluster.flags(3) };
        let third = Replica::open(Sim::on(&cluster.network, 45), flags).await.unwrap();
        third.published().await;
        let remove = MemberChange::Remove(NodeId(3));
        cluster.replica(2).change_membership(remove, MemberRules::default()).await.unwrap();
        assert_removed(&third).await;
        third.shutdown().await;
        cluster.check("alone").await;
        cluster.shutdown().await;
    });
}
