//! Members on loopback sockets and files: what ships.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use ::tokio::net::TcpListener;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use openraft_rt::Instant;
use tempfile::TempDir;

use super::*;

/// One machine: its port stays its own while its member comes and goes.
struct Machine {
    dir: TempDir,
    platform: Tokio<FjallEngine>,
    address: SocketAddr,
    dialled: Arc<AtomicU64>,
}

impl Machine {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, platform) = (listener.local_addr().unwrap(), shipped());
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

type Machines = BTreeMap<u64, Machine>;

fn member(id: u64, machine: &Machine) -> Member {
    Member {
        id,
        name: format!("m{id}"),
        peer_ur_ls: vec![format!("http://{}", machine.address)],
        client_ur_ls: vec![format!("http://m{id}:2379")],
        ..Member::default()
    }
}

async fn boot(machines: &Machines, id: u64) -> Replica<Tokio<FjallEngine>> {
    let machine = &machines[&id];
    let others = machines.iter().filter(|(other, _)| **other != id);
    let start = Start {
        data_dir: machine.dir.path().to_owned(),
        settings: Settings { id: NodeId(id), ..Settings::for_tests() },
        cluster: ClusterId(3),
        member: member(id, machine),
        peers: others.map(|(id, machine)| member(*id, machine)).collect(),
        bootstrap: Bootstrap::New,
        observer: Arc::new(Recorder::default()),
    };
    Replica::open(machine.platform.clone(), start).await.unwrap()
}

async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        TokioRuntime::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn three_members_over_the_wire_survive_the_loss_of_their_leader() {
    on_tokio(async {
        let mut machines = Machines::new();
        for id in 1..=3 {
            machines.insert(id, Machine::new().await);
        }
        let mut replicas = BTreeMap::new();
        for id in 1..=3 {
            replicas.insert(id, boot(&machines, id).await);
        }
        for replica in replicas.values() {
            replica.published().await;
        }
        for n in 0..30 {
            let replica = &replicas[&(1 + n % 3)];
            replica.propose(put(&n.to_string(), "v")).await.unwrap();
            assert!(get::<Tokio<FjallEngine>>(&replica.view(), &n.to_string()).is_some());
        }
        let leader = *replicas.iter().find(|(_, replica)| replica.status().is_leader).unwrap().0;
        replicas.remove(&leader).unwrap().shutdown().await;
        let began = <TokioRuntime as AsyncRuntime>::Instant::now();
        // A question to the old leader may be lost with it; the next is for the new one.
        let (survivor, other) = {
            let mut left = replicas.values();
            (left.next().unwrap(), left.next().unwrap())
        };
        until(|| survivor.status().leader.is_some_and(|id| id.0 != leader)).await;
        survivor.propose(put("after", "v")).await.unwrap();
        println!("a new leader took a put after {:?}", began.elapsed());
        let view = other.linearizable_view().await.unwrap();
        assert!(get::<Tokio<FjallEngine>>(&view, "after").is_some());

        let dialled = machines[&leader].dialled.load(Ordering::Relaxed);
        TokioRuntime::sleep(Duration::from_millis(500)).await;
        let dialled = machines[&leader].dialled.load(Ordering::Relaxed) - dialled;
        assert!(dialled < 30, "{dialled} connections to a stopped member in half a second");

        let back = boot(&machines, leader).await;
        let view = back.linearizable_view().await.unwrap();
        assert!(get::<Tokio<FjallEngine>>(&view, "after").is_some());
        assert_eq!(view.digest(), survivor.linearizable_view().await.unwrap().digest());
        back.shutdown().await;
        for replica in replicas.values() {
            replica.shutdown().await;
        }
    });
}
