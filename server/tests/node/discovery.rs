//! Clusters whose members DNS names.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use domain::base::iana::{Rcode, Rtype};
use domain::base::name::Name;
use domain::base::{Message, MessageBuilder};
use domain::rdata::Srv;
use futures::future::join_all;
use tokio::net::UdpSocket;
use tokio_util::task::AbortOnDropHandle;
use vetch_proto::etcdserverpb::{MemberAddRequest, MemberListRequest, StatusRequest};
use vetch_raft::manifest::identity::{cluster_id, initial_member_id};
use vetch_server::config::{Config, InitialCluster};
use vetch_server::node::{Sockets, StartError};

use crate::cluster::QUICK;
use crate::member::{Member, config, directory, until, within};

/// SRV records by name: ports of this machine, which is called as given.
type Zone = BTreeMap<&'static str, Vec<(u16, &'static str)>>;

/// Answers questions about `zone`, until the handle is dropped.
async fn serve(zone: Zone) -> (SocketAddr, AbortOnDropHandle<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    let serving = async move {
        let mut question = [0; 1500];
        loop {
            let (length, from) = socket.recv_from(&mut question).await.unwrap();
            socket.send_to(&answer(&zone, &question[..length]), from).await.unwrap();
        }
    };
    (at, AbortOnDropHandle::new(tokio::spawn(serving)))
}

fn answer(zone: &Zone, question: &[u8]) -> Vec<u8> {
    let question = Message::from_octets(question).unwrap();
    let asked = question.sole_question().unwrap();
    let name = asked.qname().to_string();
    let records = zone.get(name.trim_end_matches('.')).filter(|_| asked.qtype() == Rtype::SRV);
    let code = if records.is_some() { Rcode::NOERROR } else { Rcode::NXDOMAIN };
    let mut answer = MessageBuilder::new_vec().start_answer(&question, code).unwrap();
    for (port, target) in records.into_iter().flatten() {
        let target = Name::vec_from_str(target).unwrap();
        answer.push((asked.qname(), 60, Srv::new(0, 0, *port, target))).unwrap();
    }
    answer.finish()
}

fn ask(config: &mut Config, name_server: SocketAddr) {
    let InitialCluster::Discovered(place) = &mut config.bootstrap.cluster else {
        panic!("it was to be discovered");
    };
    place.name_servers = vec![name_server];
}

/// Starts member `number`, whose peers are reached at ports of `localhost`, as `name_server` says.
async fn start(
    dir: &Path,
    number: usize,
    sockets: Sockets,
    name_server: SocketAddr,
    more: &[&str],
) -> Member {
    let (peer, client) = (sockets.peer_addrs()[0].port(), sockets.client_addrs()[0]);
    let own = [
        format!("--name=m{number}"),
        format!("--listen-peer-urls=http://127.0.0.1:{peer}"),
        format!("--initial-advertise-peer-urls=http://localhost:{peer}"),
        format!("--listen-client-urls=http://{client}"),
        format!("--advertise-client-urls=http://{client}"),
        "--discovery-srv=example.test".to_owned(),
    ];
    let own = own.iter().map(String::as_str);
    let flags: Vec<&str> = own.chain(more.iter().copied()).chain(QUICK).collect();
    let mut config = config(&dir.join(format!("{number}")), &flags);
    ask(&mut config, name_server);
    Member::start_on(sockets, config).await.unwrap()
}

#[tokio::test]
async fn a_member_that_joins_finds_the_others_in_dns() {
    const SERVICE: &str = "_etcd-server._tcp.example.test";
    let dir = directory();
    let free = || Sockets::bind(&config(dir.path(), &[]).listen).unwrap();
    let (first, second) = (free(), free());
    let ports = [&first, &second].map(|sockets| sockets.peer_addrs()[0].port());
    let records = |ports: &[u16]| ports.iter().map(|port| (*port, "localhost")).collect();
    let (name_server, _alone) = serve(Zone::from([(SERVICE, records(&ports[..1]))])).await;
    let founder = start(dir.path(), 1, first, name_server, &[]).await;
    within("the founder serves", founder.node.serving()).await;
    founder.put("k", "v").await;
    let peer_ur_ls = vec![format!("http://localhost:{}", ports[1])];
    let request = MemberAddRequest { peer_ur_ls, is_learner: false };
    let added = founder.cluster().await.member_add(request).await.unwrap().into_inner();
    let (name_server, _both) = serve(Zone::from([(SERVICE, records(&ports))])).await;
    let joins = ["--initial-cluster-state=existing"];
    let newcomer = start(dir.path(), 2, second, name_server, &joins).await;
    within("the newcomer serves", newcomer.node.serving()).await;
    assert_eq!(newcomer.id().get(), added.member.unwrap().id);
    assert_eq!(newcomer.get("k").await.kvs[0].value, "v");
    join_all([founder, newcomer].map(Member::stop)).await;
}

#[tokio::test]
async fn members_that_know_none_but_themselves_by_name_begin_one_cluster() {
    let dir = directory();
    let free = |_| Sockets::bind(&config(dir.path(), &[]).listen).unwrap();
    let sockets: Vec<Sockets> = (0..3).map(free).collect();
    let ports: Vec<u16> = sockets.iter().map(|sockets| sockets.peer_addrs()[0].port()).collect();
    let records = ports.iter().map(|port| (*port, "localhost")).collect();
    let (name_server, _serving) =
        serve(Zone::from([("_etcd-server-prod._tcp.example.test", records)])).await;
    let start = |(number, sockets)| {
        start(dir.path(), number, sockets, name_server, &["--discovery-srv-name=prod"])
    };
    let members = join_all(sockets.into_iter().enumerate().map(start)).await;
    let ids: Vec<_> = ports
        .iter()
        .map(|port| initial_member_id(&[format!("http://localhost:{port}")], "etcd-cluster"))
        .collect();
    for (member, id) in members.iter().zip(&ids) {
        within("all members serve", member.node.serving()).await;
        assert_eq!(member.id(), *id);
        let header = member.put("k", "v").await;
        assert_eq!(header.cluster_id, cluster_id(&ids).get());
    }
    let mut expected: Vec<(u64, String)> =
        ids.iter().enumerate().map(|(number, id)| (id.get(), format!("m{number}"))).collect();
    expected.sort();
    until("all are known by name", || async {
        let request = MemberListRequest { linearizable: true };
        let listed = members[0].cluster().await.member_list(request).await.unwrap().into_inner();
        let listed = listed.members.into_iter().map(|member| (member.id, member.name));
        (listed.collect::<Vec<_>>() == expected).then_some(())
    })
    .await;
    // Each wrote its own first entries; they are the same.
    let mut digests = Vec::new();
    for member in &members {
        until("everything is applied", || async {
            let status = member.maintenance().await.status(StatusRequest {}).await.unwrap();
            let status = status.into_inner();
            (status.raft_index == status.raft_applied_index).then_some(())
        })
        .await;
        let records: Vec<_> = member.node.api().replica.view().members().iter().cloned().collect();
        digests.push(records);
    }
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{digests:?}");
    join_all(members.into_iter().map(Member::stop)).await;
}

/// How a member at `http://127.0.0.1:7` begins in a world where `zone` is.
async fn refused(zone: Zone) -> String {
    let dir = directory();
    let flags = [
        "--name=me",
        "--initial-advertise-peer-urls=http://127.0.0.1:7",
        "--discovery-srv=example.test",
    ];
    let mut config = config(&dir.path().join("data"), &flags);
    let (name_server, _serving) = serve(zone).await;
    ask(&mut config, name_server);
    let sockets = Sockets::bind(&config.listen).unwrap();
    let error = Member::start_on(sockets, config).await.err().unwrap();
    assert!(matches!(error, StartError::Discovery(_)), "{error:?}");
    assert!(!dir.path().join("data").exists(), "nothing was made");
    error.to_string()
}

#[tokio::test]
async fn what_dns_cannot_tell_is_said_in_etcds_words() {
    const HTTP: &str = "_etcd-server._tcp.example.test";
    const HTTPS: &str = "_etcd-server-ssl._tcp.example.test";
    let none = "error querying DNS SRV records for _etcd-server-ssl lookup \
                _etcd-server-ssl._tcp.example.test: no such host\n";
    let neither = "error querying DNS SRV records for _etcd-server lookup \
                   _etcd-server._tcp.example.test: no such host";
    let begins = "error setting up initial cluster: ";
    assert_eq!(refused(Zone::new()).await, format!("{begins}{none}{neither}"));
    let others = "cannot find local etcd member \"me\" in SRV records";
    let elsewhere = vec![(8, "127.0.0.1.invalid"), (8, "localhost")];
    assert_eq!(refused(Zone::from([(HTTP, elsewhere)])).await, format!("{begins}{others}"));
    // It is reached by http://, and DNS says otherwise.
    let mismatch = refused(Zone::from([(HTTPS, vec![(7, "localhost")])])).await;
    let text = "bootstrap at https://localhost:7 from DNS for etcd-server-ssl has scheme mismatch \
                with expected peer http://127.0.0.1:7";
    assert!(mismatch.contains(text) && mismatch.ends_with(neither), "{mismatch}");
}
