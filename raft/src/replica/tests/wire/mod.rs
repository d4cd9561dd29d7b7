//! Members on loopback sockets and files: what ships.

mod patient;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use ::tokio::net::TcpListener;
use futures::future::join_all;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use openraft_rt::Instant as _;
use openraft_rt_tokio::TokioInstant as Instant;
use tempfile::TempDir;
use vetch_proto::vetchpb::MembersRequest;
use vetch_storage::Engine;
use vetch_storage::engine::sled::SledEngine;

use patient::{PATIENT, change, ends, insist, read, settings, until};

use super::*;

/// One machine: its port stays its own while its member comes and goes.
struct Machine<E> {
    dir: TempDir,
    platform: Tokio<E>,
    address: SocketAddr,
    dialled: Arc<AtomicU64>,
}

impl<E: Engine + fmt::Debug> Machine<E> {
    async fn new(platform: Tokio<E>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (transport, dialled) = (platform.transport(), Arc::new(AtomicU64::new(0)));
        let count = Arc::clone(&dialled);
        drop(TokioRuntime::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                socket.set_nodelay(true).unwrap();
                let service = TowerToHyperService::new(transport.service());
                drop(TokioRuntime::spawn(async move {
                    let server = auto::Builder::new(TokioExecutor::new()).http2_only();
                    drop(server.serve_connection(TokioIo::new(socket), service).await);
                }));
            }
        }));
        Self { dir: tempfile::tempdir().unwrap(), platform, address, dialled }
    }
}

type Machines<E> = BTreeMap<u64, Machine<E>>;

fn member<E>(id: u64, machine: &Machine<E>) -> Member {
    Member {
        id,
        name: format!("m{id}"),
        peer_ur_ls: vec![format!("http://{}", machine.address)],
        client_ur_ls: vec![format!("http://m{id}:2379")],
        ..Member::default()
    }
}

async fn boot<E: Engine + fmt::Debug>(machines: &Machines<E>, id: u64) -> Replica<Tokio<E>> {
    boot_with(machines, id, settings(), Arc::default()).await
}

async fn boot_with<E: Engine + fmt::Debug>(
    machines: &Machines<E>,
    id: u64,
    settings: Settings,
    observer: Arc<Recorder>,
) -> Replica<Tokio<E>> {
    boot_as(machines, id, settings, observer, Bootstrap::New).await
}

async fn boot_as<E: Engine + fmt::Debug>(
    machines: &Machines<E>,
    id: u64,
    settings: Settings,
    observer: Arc<Recorder>,
    bootstrap: Bootstrap,
) -> Replica<Tokio<E>> {
    let machine = &machines[&id];
    let others = machines.iter().filter(|(other, _)| **other != id);
    let start = Start {
        data_dir: machine.dir.path().to_owned(),
        settings: Settings { id: NodeId(id), ..settings },
        cluster: ClusterId(3),
        member: member(id, machine),
        peers: others.map(|(id, machine)| member(*id, machine)).collect(),
        bootstrap,
        observer,
    };
    Replica::open(machine.platform.clone(), start).await.unwrap()
}

#[test]
fn three_members_over_the_wire_survive_the_loss_of_their_leader() {
    on_tokio(async {
        let mut machines = Machines::new();
        for id in 1..=3 {
            machines.insert(id, Machine::new(shipped()).await);
        }
        let mut replicas = BTreeMap::new();
        for id in 1..=3 {
            replicas.insert(id, boot(&machines, id).await);
        }
        for replica in replicas.values() {
            ends("published", replica.published()).await;
        }
        for n in 0..30 {
            let replica = &replicas[&(1 + n % 3)];
            insist(replica, &n.to_string(), "v").await;
            assert!(get::<Tokio<FjallEngine>>(&replica.view(), &n.to_string()).is_some());
        }
        let leader = *replicas.iter().find(|(_, replica)| replica.status().is_leader).unwrap().0;
        replicas.remove(&leader).unwrap().shutdown().await;
        let began = Instant::now();
        // A question to the old leader may be lost with it; the next is for the new one.
        let (survivor, other) = {
            let mut left = replicas.values();
            (left.next().unwrap(), left.next().unwrap())
        };
        until("another leader", || survivor.status().leader.is_some_and(|id| id.0 != leader)).await;
        insist(survivor, "after", "v").await;
        println!("a new leader took a put after {:?}", began.elapsed());
        let view = read(other).await;
        assert!(get::<Tokio<FjallEngine>>(&view, "after").is_some());

        let (began, dialled) = (Instant::now(), machines[&leader].dialled.load(Ordering::Relaxed));
        TokioRuntime::sleep(Duration::from_millis(500)).await;
        let dialled = machines[&leader].dialled.load(Ordering::Relaxed) - dialled;
        let took = began.elapsed();
        assert!(
            u128::from(dialled) * 1_000 < 60 * took.as_millis(),
            "{dialled} connections to a stopped member in {took:?}"
        );

        let back = boot(&machines, leader).await;
        let view = read(&back).await;
        assert!(get::<Tokio<FjallEngine>>(&view, "after").is_some());
        assert_eq!(view.digest(), read(survivor).await.digest());
        back.shutdown().await;
        for replica in replicas.values() {
            replica.shutdown().await;
        }
    });
}

/// The third member comes when the log of the others has lost its beginning.
async fn gives_a_new_member_its_state<E: Engine + fmt::Debug>(
    platform: fn() -> Tokio<E>,
    lasts: bool,
) {
    let mut machines = Machines::new();
    for id in 1..=3 {
        machines.insert(id, Machine::new(platform()).await);
    }
    let settings = Settings { checkpoint_entries: 40, catchup_entries: 2, ..settings() };
    let boot = |id| boot_with(&machines, id, settings.clone(), Arc::default());
    let (one, two) = (boot(1).await, boot(2).await);
    for replica in [&one, &two] {
        // What it says of itself is in the log; nothing else will be, but what is put below.
        ends("published", replica.published()).await;
    }
    let value = "v".repeat(20_000);
    let purged = |replica: &Replica<Tokio<E>>| {
        replica.inner.metrics.borrow_watched().purged.map_or(0, |purged| purged.index)
    };
    let mut puts = 0;
    while puts < 200 || purged(&one) < 50 || purged(&two) < 50 {
        let keys: Vec<_> = (puts..puts + 20).map(|n| format!("k{n}")).collect();
        join_all(keys.iter().map(|key| insist(&one, key, &value))).await;
        puts += 20;
    }
    let (observer, term) = (Arc::<Recorder>::default(), one.status().term);
    let three = boot_with(&machines, 3, settings.clone(), Arc::clone(&observer)).await;
    while observer.installed.lock().is_empty() {
        insist(&two, &format!("k{puts}"), "meanwhile").await;
        puts += 1;
    }
    // The last thing it does by itself: from then on nothing is written.
    ends("published", three.published()).await;
    let view = read(&three).await;
    assert_eq!(get::<Tokio<E>>(&view, "k0"), Some(value));
    assert_eq!(get::<Tokio<E>>(&view, &format!("k{}", puts - 1)), Some("meanwhile".to_owned()));
    assert_eq!(view.digest(), read(&one).await.digest());
    assert_eq!(view.hash_kv(Revision(0)).unwrap(), one.view().hash_kv(Revision(0)).unwrap());
    drop(view);
    let engine = machines[&3].dir.path().join("member/engine");
    until("the replaced state gone", || !engine.exists()).await;
    three.shutdown().await;
    // Another leader may have less of the log than this one kept for it.
    let same_leader = one.status().term == term;
    assert!(!same_leader || observer.installed.lock().len() == 1, "once was enough");
    // Answers to peers that are still being sent hold it.
    until("let go of", || Arc::strong_count(&three.inner) == 1).await;
    drop(three);
    if lasts {
        let observer = Arc::<Recorder>::default();
        let three = boot_with(&machines, 3, settings, Arc::clone(&observer)).await;
        ends("published", three.published()).await;
        let view = read(&three).await;
        assert_eq!(view.digest(), read(&one).await.digest());
        assert!(observer.installed.lock().is_empty(), "it had it");
        three.shutdown().await;
    }
    one.shutdown().await;
    two.shutdown().await;
}

#[test]
fn a_new_member_is_given_its_state_with_fjall() {
    on_tokio(gives_a_new_member_its_state(shipped, true));
}

#[test]
fn a_new_member_is_given_its_state_with_sled() {
    let sled = || {
        Tokio::new("sled", |dir| SledEngine::open(dir, Options::default()), Arc::new(Unobserved))
    };
    on_tokio(gives_a_new_member_its_state(sled, true));
}

#[test]
fn a_new_member_is_given_its_state_in_memory() {
    on_tokio(gives_a_new_member_its_state(in_memory, false));
}

/// Members are asked who they are, added, and removed, over sockets and files.
#[test]
fn a_member_over_the_wire_grows_to_three_and_loses_its_founder() {
    on_tokio(async {
        let mut machines = Machines::from([(1, Machine::new(shipped()).await)]);
        let founder = boot(&machines, 1).await;
        let mut replicas = BTreeMap::from([(1, founder)]);
        for id in 2..=3 {
            machines.insert(id, Machine::new(shipped()).await);
            let peer_urls = member(id, &machines[&id]).peer_ur_ls;
            let add = MemberChange::Add { id: NodeId(id), peer_urls, learner: false };
            let added = change(&replicas[&(id - 1)], &add).await;
            assert_eq!(added.len(), usize::try_from(id).unwrap());
            // As a newcomer does, which knows a URL and no ids.
            let asker = machines[&id].platform.transport();
            let url = format!("http://{}", machines[&1].address);
            let answered = async {
                loop {
                    match asker.ask_members(&url, MembersRequest::default(), PATIENT).await {
                        Ok(known) => return known,
                        Err(_lost) => TokioRuntime::sleep(Duration::from_millis(50)).await,
                    }
                }
            };
            let known = ends("told who is in the group", answered).await;
            assert_eq!(known.cluster, 3);
            assert_eq!(known.members.last().map(|last| last.id), Some(id));
            let (settings, observer) = (settings(), Arc::default());
            let joined = boot_as(&machines, id, settings, observer, Bootstrap::Join).await;
            replicas.insert(id, joined);
            ends("published", replicas[&id].published()).await;
            let votes = || voters(&replicas[&1]).len() == usize::try_from(id).unwrap();
            until("voting", votes).await;
        }
        insist(&replicas[&3], "k", "v").await;
        let founder = replicas.remove(&1).unwrap();
        let left = change(&founder, &MemberChange::Remove(NodeId(1))).await;
        assert_eq!(left.iter().map(|member| member.id).collect::<Vec<_>>(), [2, 3]);
        let reason = ends("removed", founder.fatal()).await;
        assert!(matches!(reason, StopReason::Removed), "{reason}");
        founder.shutdown().await;
        for replica in replicas.values() {
            let view = read(replica).await;
            assert!(get::<Tokio<FjallEngine>>(&view, "k").is_some());
            assert!(view.members().is_removed(NodeId(1)));
        }
        for replica in replicas.values() {
            replica.shutdown().await;
        }
    });
}

fn voters(replica: &Replica<Tokio<FjallEngine>>) -> Vec<u64> {
    use openraft_rt::WatchReceiver;

    let metrics = replica.inner.metrics.borrow_watched();
    metrics.membership_config.membership().voter_ids().collect()
}
