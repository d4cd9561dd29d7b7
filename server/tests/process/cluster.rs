//! Members of one cluster, each a process of its own: when they end, and with which words.

use std::path::Path;

use tonic::Code;
use vetch_proto::etcdserverpb::cluster_client::ClusterClient;
use vetch_proto::etcdserverpb::{MemberListRequest, MemberRemoveRequest};

use crate::process::{Process, connect, put, within};

/// Member `number` of two that reach each other at files in `dir`.
fn start(dir: &Path, number: usize, data: &str) -> Process {
    let url = |number: usize| format!("unix://{}", dir.join(format!("m{number}")).display());
    let flags = [
        format!("--name=m{number}"),
        format!("--initial-cluster=m1={},m2={}", url(1), url(2)),
        format!("--listen-peer-urls={}", url(number)),
        format!("--initial-advertise-peer-urls={}", url(number)),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    Process::start(&dir.join(data), &flags)
}

#[tokio::test]
async fn who_lost_its_directory_is_not_begun_anew_and_who_was_removed_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let (mut first, mut second) = (start(dir.path(), 1, "data1"), start(dir.path(), 2, "data2"));
    let (addr, _) = (first.ready().await, second.ready().await);
    put(addr, "k", "v").await;
    let mut cluster = ClusterClient::new(connect(addr).await);
    let id = within("both are known by name", async {
        loop {
            let listed = cluster.member_list(MemberListRequest::default()).await.unwrap();
            let members = listed.into_inner().members;
            if let Some(member) = members.iter().find(|member| member.name == "m2") {
                break member.id;
            }
        }
    })
    .await;

    second.kill().await;
    let mut wiped = start(dir.path(), 2, "empty");
    let line = wiped.line("the member has stopped").await;
    assert_eq!(wiped.ended().await.code(), Some(1));
    assert_eq!(line["error"], format!("member {id:x} has already been bootstrapped"));

    let mut second = start(dir.path(), 2, "data2");
    second.ready().await;
    within("it is removed", async {
        loop {
            match cluster.member_remove(MemberRemoveRequest { id }).await {
                Ok(_) => break,
                // Until both have been connected for five seconds.
                Err(refused) => assert_eq!(refused.code(), Code::Unavailable, "{refused}"),
            }
        }
    })
    .await;
    second.line("the data-dir used by this member must be removed").await;
    assert_eq!(second.ended().await.code(), Some(0));
    let mut removed = start(dir.path(), 2, "data2");
    let line = removed.line("the member has stopped").await;
    assert_eq!(removed.ended().await.code(), Some(1));
    let error = line["error"].as_str().unwrap();
    assert!(error.contains("removed"), "{error}");
    put(addr, "k", "w").await;
    first.stop().await;
}
