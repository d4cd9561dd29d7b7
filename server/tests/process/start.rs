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
