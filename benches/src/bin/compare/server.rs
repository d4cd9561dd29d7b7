//! A server under load: a child process on loopback with a data folder of its own.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use vetch_proto::etcdserverpb::RangeRequest;

use crate::args::Side;
use crate::connection::Connection;
use crate::ports::Ports;

/// Room for a million keys, their overwritten versions and etcd's free pages.
const QUOTA: &str = "--quota-backend-bytes=8589934592";

/// How one side is started.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) side: Side,
    pub(crate) binary: PathBuf,
    pub(crate) flags: Vec<String>,
    /// Where data folders are made.
    pub(crate) dir: PathBuf,
    /// Where its servers listen.
    pub(crate) ports: Ports,
}

impl Program {
    /// What the program says of its version, first line first.
    pub(crate) fn version(&self) -> Result<String> {
        let output = std::process::Command::new(&self.binary)
            .arg("--version")
            .output()
            .with_context(|| format!("run {}", self.binary.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().take(2).collect::<Vec<_>>().join(", "))
    }
}

/// A running (or stopped) server. Dropping it kills the process and removes the data.
#[derive(Debug)]
pub(crate) struct Server {
    program: Program,
    folder: TempDir,
    name: String,
    client: SocketAddr,
    peer: SocketAddr,
    /// What it is told of its cluster: `--initial-cluster`, and whether that exists already.
    initial_cluster: String,
    joins: bool,
    child: Option<Child>,
}

impl Server {
    const START: Duration = Duration::from_mins(2);
    const STOP: Duration = Duration::from_mins(1);

    /// Starts the program on an empty data folder, alone; returns once it serves.
    pub(crate) async fn start(program: &Program) -> Result<Self> {
        let mut server = Self::new(program, "member")?;
        server.run().await?;
        Ok(server)
    }

    /// A member with an empty data folder that does not run yet and would be alone.
    pub(crate) fn new(program: &Program, name: &str) -> Result<Self> {
        let folder =
            tempfile::Builder::new().prefix(program.side.name()).tempdir_in(&program.dir)?;
        let [client, peer] = [program.ports.take()?, program.ports.take()?];
        let mut server = Self {
            program: program.clone(),
            folder,
            name: name.to_owned(),
            client,
            peer,
            initial_cluster: String::new(),
            joins: false,
            child: None,
        };
        server.initial_cluster = server.as_initial();
        Ok(server)
    }

    /// Its part of `--initial-cluster`.
    pub(crate) fn as_initial(&self) -> String {
        format!("{}={}", self.name, self.peer_url())
    }

    pub(crate) fn peer_url(&self) -> String {
        format!("http://{}", self.peer)
    }

    /// To be called before the first start: the members it begins with, or joins.
    pub(crate) fn in_cluster(&mut self, initial_cluster: String, joins: bool) {
        (self.initial_cluster, self.joins) = (initial_cluster, joins);
    }

    pub(crate) fn side(&self) -> Side {
        self.program.side
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.client
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn pid(&self) -> Result<u32> {
        self.child.as_ref().and_then(Child::id).context("the server does not run")
    }

    /// Starts the process on the data it has; returns how long it took from before the process was
    /// created to the answer of a linearizable read.
    pub(crate) async fn run(&mut self) -> Result<Duration> {
        let started = Instant::now();
        self.spawn()?;
        while let Err(error) = read(self.client).await {
            self.wait_a_little(started, error).await?;
        }
        Ok(started.elapsed())
    }

    /// Creates the process and does not wait for anything.
    pub(crate) fn spawn(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "runs already");
        let log = File::options().create(true).append(true).open(self.log())?;
        let child = Command::new(&self.program.binary)
            .args(self.flags())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", self.program.binary.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Between two attempts at something a process started at `started` does not do yet, because of
    /// `error`. Fails if it never will.
    pub(crate) async fn wait_a_little(
        &mut self,
        started: Instant,
        error: anyhow::Error,
    ) -> Result<()> {
        if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().transpose()) {
            bail!("{} ended: {}\n{}", self.side().name(), status?, self.last_words());
        }
        if started.elapsed() > Self::START {
            bail!("{} does not serve: {error:#}\n{}", self.side().name(), self.last_words());
        }
        sleep(Duration::from_millis(1)).await;
        Ok(())
    }

    /// Ends the process with a signal and waits for it.
    pub(crate) async fn end(&mut self, signal: Signal) -> Result<()> {
        let mut child = self.child.take().context("the server does not run")?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        kill_process(pid.context("the server ended by itself")?, signal)?;
        timeout(Self::STOP, child.wait()).await.context("the server does not stop")??;
        Ok(())
    }

    /// What went wrong, with what the server had to say if it is gone.
    pub(crate) fn explain(&mut self, error: anyhow::Error) -> anyhow::Error {
        let error = error.context(self.side().name());
        match self.epitaph() {
            Some(epitaph) => error.context(epitaph),
            None => error,
        }
    }

    /// What there is to say of a process that has ended by itself.
    pub(crate) fn epitaph(&mut self) -> Option<String> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        Some(format!("{} ended: {status}\n{}", self.name, self.last_words()))
    }

    fn flags(&self) -> Vec<String> {
        let Self { name, client, peer, initial_cluster, .. } = self;
        let state = if self.joins { "existing" } else { "new" };
        let mut flags = vec![
            format!("--name={name}"),
            format!("--data-dir={}", self.data().display()),
            format!("--listen-client-urls=http://{client}"),
            format!("--advertise-client-urls=http://{client}"),
            format!("--listen-peer-urls=http://{peer}"),
            format!("--initial-advertise-peer-urls=http://{peer}"),
            format!("--initial-cluster={initial_cluster}"),
            format!("--initial-cluster-state={state}"),
            QUOTA.to_owned(),
        ];
        flags.extend_from_slice(&self.program.flags);
        flags
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn last_words(&self) -> String {
        last_lines(&self.log(), 8)
    }
}

fn last_lines(file: &Path, count: usize) -> String {
    let text = std::fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// A linearizable read, which every member can answer once it and its cluster are up.
pub(crate) async fn read(server: SocketAddr) -> Result<()> {
    let request = RangeRequest { key: "no such key".into(), ..RangeRequest::default() };
    let attempt = async { Ok(Connection::open(server).await?.kv().range(request).await?) };
    let answer: Result<_> = timeout(Duration::from_secs(5), attempt).await?;
    answer.map(drop)
}
