//! Groups of members on a simulated network.

mod diverged;
mod faults;
mod force;
mod forwarding;
mod identity;
mod lease_reads;
mod membership;
mod partition;
mod quorum;
mod serving;
mod slow_disk;
mod snapshots;
mod transfer;

use std::collections::BTreeMap;

use futures::future::join_all;
use openraft_rt::Instant;
use openraft_rt_sim::SimInstant;

use super::*;
use crate::transport::sim::{SimNetwork, Weather};

/// Long enough for anything that ends at all.
const LONG: Duration = Duration::from_mins(1);

/// Members on one network, and what clients were told by them.
pub(super) struct Cluster {
    pub(super) network: SimNetwork,
    size: u64,
    settings: Settings,
    pub(super) machines: BTreeMap<u64, Sim>,
    pub(super) replicas: BTreeMap<u64, Replica<Sim>>,
    /// What each member was told in its last life.
    pub(super) observers: BTreeMap<u64, Arc<Recorder>>,
    /// Keys whose put was answered, with the revision of the answer.
    acknowledged: Mutex<BTreeMap<String, Revision>>,
}

pub(super) fn member(id: u64) -> Member {
    Member {
        id,
        name: format!("m{id}"),
        peer_ur_ls: vec![format!("http://m{id}:2380")],
        client_ur_ls: vec![format!("http://m{id}:2379")],
        ..Member::default()
    }
}

impl Cluster {
    /// `size` machines, with ids from 1, and a member running on each.
    pub(super) async fn start(seed: u64, size: u64) -> Self {
        Self::start_with(seed, size, Settings::for_tests()).await
    }

    pub(super) async fn start_with(seed: u64, size: u64, settings: Settings) -> Self {
        let mut cluster = Self::off(seed, size, settings);
        for id in 1..=size {
            cluster.boot(id).await;
        }
        cluster
    }

    /// Machines on which no member runs yet.
    pub(super) fn off(seed: u64, size: u64, settings: Settings) -> Self {
        let network = SimNetwork::new(seed);
        let machine = |id| Sim::on(&network, seed.wrapping_mul(1_000).wrapping_add(id));
        let machines = (1..=size).map(|id| (id, machine(id))).collect();
        let (replicas, acknowledged) = (BTreeMap::new(), Mutex::default());
        let observers = BTreeMap::new();
        Self { network, size, settings, machines, replicas, observers, acknowledged }
    }

    /// A member with an id above the initial ones joins.
    pub(super) fn flags(&self, id: u64) -> Start<Sim> {
        let joins = id > self.size;
        let initial = (1..=self.size).filter(|peer| *peer != id && !joins);
        Start {
            data_dir: data_dir(),
            settings: Settings { id: NodeId(id), ..self.settings.clone() },
            cluster: ClusterId(3),
            member: member(id),
            peers: initial.map(member).collect(),
            bootstrap: if joins { Bootstrap::Join } else { Bootstrap::New },
            observer: Arc::new(Recorder::default()),
        }
    }

    /// Starts the member of machine `id`.
    pub(super) async fn boot(&mut self, id: u64) {
        let machine = self.machines[&id].clone();
        let observer = Arc::<Recorder>::default();
        self.observers.insert(id, Arc::clone(&observer));
        let flags = Start { observer, ..self.flags(id) };
        let replica = Replica::open(machine, flags).await.unwrap();
        self.replicas.insert(id, replica);
    }

    /// Starts a member that was added, on a machine of its own.
    pub(super) async fn join(&mut self, id: u64) {
        let seed = self.machines.values().next().unwrap().random();
        self.machines.insert(id, Sim::on(&self.network, seed));
        self.boot(id).await;
    }

    /// The machine's power goes out.
    pub(super) fn power_cut(&mut self, id: u64) {
        self.replicas.remove(&id);
        let machine = &self.machines[&id];
        let after = machine.power_cut(machine.random());
        self.machines.insert(id, after);
    }

    /// The process ends without a word; what it had written is still there.
    pub(super) fn kill(&mut self, id: u64) {
        self.replicas.remove(&id);
        let after = self.machines[&id].process_killed();
        self.machines.insert(id, after);
    }

    pub(super) fn replica(&self, id: u64) -> &Replica<Sim> {
        &self.replicas[&id]
    }

    /// Waits until `holds`.
    pub(super) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool + Sync) {
        let wait = async {
            while !holds(self) {
                SimRuntime::sleep(Duration::from_millis(5)).await;
            }
        };
        if SimRuntime::timeout(LONG, Box::pin(wait)).await.is_err() {
            let all: Vec<_> = self.replicas.values().map(Replica::status).collect();
            panic!("never {what}: {all:#?}");
        }
    }

    /// Waits for a member that leads with a quorum behind it, and that every running member follows.
    pub(super) async fn leader(&self) -> u64 {
        self.until("one leader", |cluster| cluster.agreed_leader().is_some()).await;
        self.agreed_leader().unwrap()
    }

    fn agreed_leader(&self) -> Option<u64> {
        let mut statuses = self.replicas.values().map(Replica::status);
        let first = statuses.next()?;
        let agreed = |status: Status| status.leader == first.leader && status.term == first.term;
        let leader = first.leader?.0;
        let leads = self.replicas.get(&leader)?.status().is_leader;
        (leads && statuses.all(agreed)).then_some(leader)
    }

    /// A running member that does not lead.
    pub(super) async fn follower(&self) -> u64 {
        let leader = self.leader().await;
        *self.replicas.keys().find(|id| **id != leader).unwrap()
    }

    /// Puts `key` by way of member `id`, and notes the answer.
    pub(super) async fn put(&self, id: u64, key: &str) -> Result<Revision, ProposeError> {
        let revision = self.replica(id).propose(put(key, key)).await?.revision;
        assert_eq!(self.acknowledged.lock().insert(key.to_owned(), revision), None);
        Ok(revision)
    }

    /// Two clients on every running member, each putting `puts` keys of its own one after another;
    /// what fails is not noted.
    pub(super) async fn load(&self, name: &str, puts: u64) {
        let clients = self.replicas.keys().flat_map(|id| [(*id, 0), (*id, 1)]);
        join_all(clients.map(|(id, client)| async move {
            for n in 0..puts {
                drop(self.put(id, &format!("{name}.{id}.{client}.{n}")).await);
            }
        }))
        .await;
    }

    pub(super) fn acknowledged(&self) -> usize {
        self.acknowledged.lock().len()
    }

    /// Every member's linearizable view holds all that was acknowledged, and nothing twice.
    pub(super) async fn check(&self, context: &str) {
        for (id, replica) in &self.replicas {
            let view = replica.linearizable_view().await;
            let view = view.unwrap_or_else(|error| panic!("{context}: member {id}: {error}"));
            let stored = everything(&view);
            assert_eq!(
                view.revision().0,
                1 + i64::try_from(stored.len()).unwrap(),
                "{context}: member {id}: a put applied twice"
            );
            for (key, revision) in &*self.acknowledged.lock() {
                let found = stored.get(key);
                assert_eq!(found, Some(revision), "{context}: member {id}: {key} acknowledged");
            }
        }
        self.converged(context).await;
    }

    /// All members come to hold the same, and none was ever found to hold something else.
    pub(super) async fn converged(&self, context: &str) {
        self.same_state(context).await;
        for (id, replica) in &self.replicas {
            let alarms: Vec<_> = replica.view().alarms().iter().collect();
            assert!(alarms.is_empty(), "{context}: member {id}: {alarms:?}");
        }
    }

    async fn same_state(&self, context: &str) {
        let same = |cluster: &Self| {
            let mut states = cluster.replicas.values().map(|replica| replica.status().applied);
            let first = states.next();
            states.all(|state| Some(state) == first)
        };
        self.until("the same applied everywhere", same).await;
        let mut digests = self.replicas.values().map(|replica| replica.view().digest());
        let first = digests.next();
        assert!(digests.all(|digest| Some(digest) == first), "{context}: members differ");
    }

    pub(super) async fn shutdown(self) {
        join_all(self.replicas.values().map(Replica::shutdown)).await;
    }
}

/// Every key with its revision.
fn everything(view: &ReadView<MemEngine>) -> BTreeMap<String, Revision> {
    let all =
        RangeRequest { key: vec![0].into(), range_end: vec![0].into(), ..RangeRequest::default() };
    let records = view.range(&all).unwrap().next_records(usize::MAX).unwrap();
    let pair = |kv: vetch_proto::mvccpb::KeyValue| {
        (String::from_utf8(kv.key.to_vec()).unwrap(), Revision(kv.mod_revision))
    };
    records.into_iter().map(pair).collect()
}

/// Runs `test` on virtual time.
pub(super) fn on_cluster<T>(seed: u64, test: impl Future<Output = T>) -> T {
    on_sim(seed, test)
}
