//! How a member with an empty directory begins, or does not.

use std::path::Path;

use futures::future::join_all;
use vetch_server::node::Sockets;

use crate::cluster::{Cluster, QUICK};
use crate::member::{Member, config, directory, http, until, within};

/// Such a member may have voted, and acknowledged what others count on: begun anew under the same id it
/// could do so otherwise (A17).
#[tokio::test]
async fn a_member_whose_directory_is_gone_does_not_begin_the_cluster_once_more() {
    let mut cluster = Cluster::start(3, &QUICK).await;
    let id = cluster.member(1).id();
    until("the others know that it has started", || async {
        let (_, known) = http(cluster.place(0).peer, "/members").await?;
        known.contains("\"name\":\"m2\"").then_some(())
    })
    .await;
    cluster.stop(1).await;
    cluster.place_mut(1).dir = directory();
    let error = cluster.place(1).try_start().await.err().unwrap();
    let expected = format!("member {:x} has already been bootstrapped", id.get());
    assert_eq!(error.to_string(), expected);
    assert_eq!(std::fs::read_dir(cluster.place(1).dir.path()).unwrap().count(), 0);
    // Nor did it disturb anybody.
    for member in cluster.running() {
        member.put("k", "v").await;
    }
    cluster.stop_all().await;
}

/// A cluster of three whose members are reached at files.
async fn at_files(dir: &Path, scheme: &str, more: &[&str]) -> Vec<Member> {
    let url = |number: usize| format!("{scheme}://{}", dir.join(format!("m{number}")).display());
    let all: Vec<String> = (1..=3).map(|number| format!("m{number}={}", url(number))).collect();
    let start = async |number: usize| {
        let own = [
            format!("--name=m{number}"),
            format!("--initial-cluster={}", all.join(",")),
            format!("--listen-peer-urls={}", url(number)),
            format!("--initial-advertise-peer-urls={}", url(number)),
        ];
        let own = own.iter().map(String::as_str);
        let flags: Vec<&str> = own.chain(QUICK).chain(more.iter().copied()).collect();
        let config = config(&dir.join(format!("data{number}")), &flags);
        let sockets = Sockets::bind(&config.listen).unwrap();
        Member::start_on(sockets, config).await.unwrap()
    };
    join_all((1..=3).map(start)).await
}

#[tokio::test]
async fn members_may_be_reached_at_files() {
    for (scheme, more) in [("unix", &[][..]), ("unixs", &["--peer-auto-tls"])] {
        let dir = directory();
        let members = at_files(dir.path(), scheme, more).await;
        for member in &members {
            within("all members serve", member.node.serving()).await;
            member.put("k", "v").await;
        }
        for member in &members {
            assert_eq!(member.get("k").await.kvs[0].version, 3, "{scheme}");
        }
        join_all(members.into_iter().map(Member::stop)).await;
    }
}
