//! A `vetch` process, its log and its clients.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tonic::transport::{Channel, Endpoint};
use vetch_proto::etcdserverpb::kv_client::KvClient;
use vetch_proto::etcdserverpb::{PutRequest, RangeRequest};

/// Longest wait for anything: the machine may be busy with something else, and its disk may stall for
/// seconds.
const PATIENCE: Duration = Duration::from_mins(2);

/// A running `vetch`, killed when dropped.
pub(crate) struct Process {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
}

impl Process {
    /// Starts it on `dir`, on ports that the system chooses.
    pub(crate) fn start(dir: &Path, flags: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_vetch"))
            .arg(format!("--data-dir={}", dir.display()))
            .arg("--listen-client-urls=http://127.0.0.1:0")
            .arg("--advertise-client-urls=http://127.0.0.1:0")
            .arg("--listen-peer-urls=http://127.0.0.1:0")
            .args(flags)
            .env_clear()
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, log }
    }

    /// Starts it, and waits until it serves.
    pub(crate) async fn serving(dir: &Path, flags: &[&str]) -> (Self, SocketAddr) {
        let mut process = Self::start(dir, flags);
        let addr = process.ready().await;
        (process, addr)
    }

    /// Where it serves, once it says so.
    pub(crate) async fn ready(&mut self) -> SocketAddr {
        let line = self.line("ready to serve client requests").await;
        line["address"].as_str().unwrap().parse().unwrap()
    }

    /// The next line of the log with this message.
    pub(crate) async fn line(&mut self, message: &str) -> Value {
        let found = async {
            let mut seen = Vec::new();
            while let Some(line) = self.log.next_line().await.unwrap() {
                let line: Value = serde_json::from_str(&line).unwrap();
                if line["msg"] == message {
                    return line;
                }
                seen.push(line);
            }
            panic!("it ended without saying {message:?}: {seen:#?}");
        };
        within(message, found).await
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        let pid = rustix::process::Pid::from_raw(self.child.id().unwrap().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        within("the process has ended", self.child.wait()).await.unwrap()
    }

    /// Ends it without a chance to do anything.
    pub(crate) async fn kill(&mut self) {
        within("the process has ended", self.child.kill()).await.unwrap();
    }

    /// Stops it in order.
    pub(crate) async fn stop(mut self) {
        self.terminate();
        assert_eq!(self.ended().await.code(), Some(0));
    }
}

pub(crate) async fn within<T>(wanted: &str, future: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, future).await;
    done.unwrap_or_else(|_late| panic!("waited too long for: {wanted}"))
}

pub(crate) async fn connect(addr: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{addr}")).unwrap().connect().await.unwrap()
}

pub(crate) async fn put(addr: SocketAddr, key: &str, value: &str) {
    let (key, value) = (key.to_owned().into(), value.to_owned().into());
    let request = PutRequest { key, value, ..PutRequest::default() };
    KvClient::new(connect(addr).await).put(request).await.unwrap();
}

pub(crate) async fn get(addr: SocketAddr, key: &str) -> Option<String> {
    let request = RangeRequest { key: key.to_owned().into(), ..RangeRequest::default() };
    let answer = KvClient::new(connect(addr).await).range(request).await.unwrap().into_inner();
    Some(String::from_utf8(answer.kvs.first()?.value.to_vec()).unwrap())
}
