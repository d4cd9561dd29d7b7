//! `vetch playground`.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::process::{get, put, within};

#[tokio::test]
async fn one_command_runs_a_cluster_and_its_data_goes_with_it() {
    let temp = tempfile::tempdir().unwrap();
    let mut playground = Command::new(env!("CARGO_BIN_EXE_vetch"))
        .args(["playground", "--members", "3"])
        .env_clear()
        .env("TMPDIR", temp.path())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(playground.stdout.take().unwrap()).lines();
    let mut members: Vec<SocketAddr> = Vec::new();
    let mut hints = 0;
    loop {
        let line = within("the introduction", lines.next_line()).await.unwrap().unwrap();
        if let Some((_, address)) = line.split_once("  http://") {
            members.push(address.parse().unwrap());
        }
        hints += usize::from(line.trim_start().starts_with("etcdctl --endpoints="));
        if line.starts_with("Ctrl-C") {
            break;
        }
    }
    assert_eq!((members.len(), hints), (3, 2));
    put(members[0], "greeting", "hello").await;
    assert_eq!(get(members[2], "greeting").await.as_deref(), Some("hello"));
    let entries = |dir: &Path| std::fs::read_dir(dir).unwrap().count();
    assert_eq!(entries(temp.path()), 1);
    let pid = rustix::process::Pid::from_raw(playground.id().unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let status = within("its end", playground.wait()).await.unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(entries(temp.path()), 0, "nothing is left");
}
