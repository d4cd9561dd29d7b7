//! TLS between members.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use vetch_proto::etcdserverpb::MemberAddRequest;

use crate::cluster::{Cluster, QUICK};
use crate::member::{directory, http, within};

/// Writes `ca.pem`, and `cert.pem` and `key.pem` that it signed for this machine, into `dir`.
fn issue(dir: &Path) {
    issue_to(&[("some member", dir)]);
}

/// As [`issue`], for several of one authority, by their common names.
fn issue_to(members: &[(&str, &Path)]) {
    let (key, mut params) = (KeyPair::generate().unwrap(), CertificateParams::default());
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    for (common_name, dir) in members {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, *common_name);
        let cert = params.signed_by(&key, &issuer).unwrap().pem();
        for (name, text) in [("ca", &authority), ("cert", &cert), ("key", &key.serialize_pem())] {
            std::fs::write(dir.join(name).with_extension("pem"), text).unwrap();
        }
    }
}

fn flags(dir: &Path) -> Vec<String> {
    let own = ["peer-cert-file=cert", "peer-key-file=key", "peer-trusted-ca-file=ca"];
    let own = own.map(|flag| {
        let (flag, name) = flag.split_once('=').unwrap();
        format!("--{flag}={}", dir.join(name).with_extension("pem").display())
    });
    own.into_iter()
        .chain(["--peer-client-cert-auth".to_owned()])
        .chain(QUICK.map(str::to_owned))
        .collect()
}

async fn replicates(cluster: &Cluster) {
    for member in cluster.running() {
        member.put("k", "v").await;
    }
    for member in cluster.running() {
        assert_eq!(member.get("k").await.kvs[0].version, 3);
    }
}

#[tokio::test]
async fn members_of_one_authority_replicate_over_tls_and_no_plain_request_is_answered() {
    let dir = directory();
    issue(dir.path());
    let (places, sockets) = Cluster::prepare_as(3, "https", |_| flags(dir.path()));
    let cluster = Cluster::start_at(places, sockets).await;
    replicates(&cluster).await;
    assert_eq!(http(cluster.place(0).peer, "/version").await, None);
    cluster.stop_all().await;
}

#[tokio::test]
async fn a_member_that_joins_asks_over_tls() {
    let dir = directory();
    issue(dir.path());
    let (places, sockets) = Cluster::prepare_as(1, "https", |_| flags(dir.path()));
    let mut cluster = Cluster::start_at(places, sockets).await;
    let (at, sockets) = cluster.newcomer_as("m2", "https", flags(dir.path()));
    let (founder, url) = (cluster.place(0).url.clone(), cluster.place(at).url.clone());
    let request = MemberAddRequest { peer_ur_ls: vec![url], is_learner: false };
    cluster.member(0).cluster().await.member_add(request).await.unwrap();
    cluster.join(at, "m2", &format!("m1={founder}"), sockets).await;
    within("the newcomer serves", cluster.member(at).node.serving()).await;
    for member in cluster.running() {
        member.put("k", "v").await;
    }
    for member in cluster.running() {
        assert_eq!(member.get("k").await.kvs[0].version, 2);
    }
    cluster.stop_all().await;
}

#[tokio::test]
async fn members_with_generated_certificates_replicate() {
    let auto = || QUICK.map(str::to_owned).into_iter().chain(["--peer-auto-tls".to_owned()]);
    let (places, sockets) = Cluster::prepare_as(3, "https", |_| auto().collect());
    let cluster = Cluster::start_at(places, sockets).await;
    replicates(&cluster).await;
    assert!(cluster.place(0).dir.path().join("fixtures/peer/key.pem").exists());
    cluster.stop_all().await;
}

#[tokio::test]
async fn a_member_of_another_authority_is_neither_believed_nor_let_in() {
    let (ours, other) = (directory(), directory());
    issue(ours.path());
    issue(other.path());
    let dir = |at: usize| if at == 2 { other.path() } else { ours.path() };
    the_third_is_left_out(|at| flags(dir(at))).await;
}

#[tokio::test]
async fn a_member_by_another_name_is_neither_believed_nor_let_in() {
    let (ours, other) = (directory(), directory());
    issue_to(&[("member", ours.path()), ("somebody", other.path())]);
    let dir = |at: usize| if at == 2 { other.path() } else { ours.path() };
    the_third_is_left_out(|at| {
        let mut flags = flags(dir(at));
        flags.push("--peer-cert-allowed-cn=member".to_owned());
        flags
    })
    .await;
}

async fn the_third_is_left_out(flags: impl Fn(usize) -> Vec<String>) {
    let (places, sockets) = Cluster::prepare_as(3, "https", flags);
    let mut sockets = sockets.into_iter();
    let mut members = Vec::new();
    for place in &places {
        members.push(place.start_on(sockets.next().unwrap()).await);
    }
    for member in &members[..2] {
        within("two of one authority serve", member.node.serving()).await;
    }
    // Its handshakes fail all the while.
    for turn in 0..5 {
        members[0].put("k", &format!("{turn}")).await;
        let stranger = members[2].node.api().replica.status();
        assert_eq!((stranger.leader, stranger.applied.get()), (None, 0), "turn {turn}");
    }
    for member in members {
        member.stop().await;
    }
}
