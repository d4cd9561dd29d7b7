//! What lets it start, and what does not.

use crate::process::{Process, get, put};

#[tokio::test]
async fn a_second_process_waits_for_the_directory_says_so_and_takes_over() {
    let dir = tempfile::tempdir().unwrap();
    let (first, addr) = Process::serving(dir.path(), &[]).await;
    let mut second = Process::start(dir.path(), &[]);
    let message = "another process uses this data directory; waiting until it ends";
    let line = second.line(message).await;
    assert_eq!(line["path"], dir.path().display().to_string());
    put(addr, "k", "of the first").await;
    first.stop().await;
    second.line("the data directory is free; going on").await;
    let addr = second.ready().await;
    assert_eq!(get(addr, "k").await.as_deref(), Some("of the first"));
    second.stop().await;
}

#[tokio::test]
async fn a_killed_process_leaves_the_directory_to_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let (mut first, addr) = Process::serving(dir.path(), &[]).await;
    let mut second = Process::start(dir.path(), &[]);
    second.line("another process uses this data directory; waiting until it ends").await;
    put(addr, "k", "acknowledged").await;
    first.kill().await;
    let addr = second.ready().await;
    assert_eq!(get(addr, "k").await.as_deref(), Some("acknowledged"));
    second.stop().await;
}

#[tokio::test]
async fn another_engine_than_the_directorys_is_refused_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    Process::serving(dir.path(), &[]).await.0.stop().await;
    let mut process = Process::start(dir.path(), &["--storage-engine=sled"]);
    let line = process.line("the member has stopped").await;
    assert_eq!(process.ended().await.code(), Some(1));
    let error = line["error"].as_str().unwrap();
    assert!(error.contains("start with --storage-engine=fjall"), "{error}");
}

#[tokio::test]
async fn a_taken_port_is_refused_at_once() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, addr) = Process::serving(dir.path(), &[]).await;
    let url = format!("--listen-client-urls=http://{addr}");
    let mut process = Process::start(&other.path().join("data"), &[&url]);
    let line = process.line("the member has stopped").await;
    assert_eq!(process.ended().await.code(), Some(1));
    let error = line["error"].as_str().unwrap();
    assert!(error.starts_with(&format!("cannot listen on http://{addr}: ")), "{error}");
    assert!(!other.path().join("data").exists(), "nothing was made");
    first.stop().await;
}

#[tokio::test]
async fn a_cluster_without_this_member_is_refused_and_nothing_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let flags = ["--name=m1", "--initial-cluster=m2=http://127.0.0.1:1,m3=http://127.0.0.1:2"];
    let mut process = Process::start(&data, &flags);
    let line = process.line("the member has stopped").await;
    assert_eq!(process.ended().await.code(), Some(1));
    let expected = "couldn't find local name \"m1\" in the initial cluster configuration";
    assert_eq!(line["error"], expected);
    assert!(!data.exists());
}

/// Started alone, a member of three serves its peers, waits for the others, and ends when asked to.
#[tokio::test]
async fn a_member_that_waits_for_the_others_ends_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let flags = [
        "--name=m1",
        "--initial-cluster=m1=http://127.0.0.1:3,m2=http://127.0.0.1:1,m3=http://127.0.0.1:2",
        "--initial-advertise-peer-urls=http://127.0.0.1:3",
    ];
    let mut process = Process::start(dir.path(), &flags);
    process.line("serving peer traffic").await;
    let lost = process.line("peer became inactive: it cannot be reached").await;
    assert_eq!(lost["level"], "warn");
    process.stop().await;
}
