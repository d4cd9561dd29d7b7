//! One server process.

use super::connection::Connection;
use super::error::HarnessError;
use crate::history::{KeyRange, Op, Outcome, Range};
use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// How long a start, a stop or a first answer may take before it counts as hanging.
const DEADLINE: Duration = Duration::from_secs(30);

/// How to start a server; stays the same over restarts, so clients find it again.
#[derive(Clone, Debug)]
pub struct ServerSpec {
    /// The program.
    pub binary: PathBuf,
    /// Its data directory.
    pub data_dir: PathBuf,
    /// Where stdout and stderr are appended.
    pub log: PathBuf,
    /// Flags besides those every member needs.
    pub extra_args: Vec<String>,
    client_port: u16,
    peer_port: u16,
}

impl ServerSpec {
    /// A server in `folder` (data in `data/`, log in `server.log`) on free loopback ports.
    pub fn new(binary: &Path, folder: &Path) -> Result<Self, HarnessError> {
        // Both are held until both are known, so they differ.
        let listen =
            || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(HarnessError::io("bind a port"));
        let (client, peer) = (listen()?, listen()?);
        let port = |listener: &TcpListener| {
            listener.local_addr().map(|addr| addr.port()).map_err(HarnessError::io("read a port"))
        };
        Ok(Self {
            binary: binary.to_owned(),
            data_dir: folder.join("data"),
            log: folder.join("server.log"),
            extra_args: Vec::new(),
            client_port: port(&client)?,
            peer_port: port(&peer)?,
        })
    }

    /// Where clients connect.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.client_port)
    }

    /// Asks over HTTP; the whole answer, headers included.
    pub async fn http_get(&self, path: &str) -> Result<String, HarnessError> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let failed = || HarnessError::io(format!("GET {path}"));
        let socket = (Ipv4Addr::LOCALHOST, self.client_port);
        let mut stream = tokio::net::TcpStream::connect(socket).await.map_err(failed())?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.map_err(failed())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.map_err(failed())?;
        Ok(answer)
    }

    /// Starts the process; it serves later.
    pub fn start(&self) -> Result<Server, HarnessError> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        let log = log.map_err(HarnessError::io(format!("open {}", self.log.display())))?;
        let from = log.metadata().map_err(HarnessError::io("read the log's size"))?.len();
        let stderr = log.try_clone().map_err(HarnessError::io("share the log"))?;
        let (client, peer) = (self.endpoint(), format!("http://127.0.0.1:{}", self.peer_port));
        let child = Command::new(&self.binary)
            .arg("--name=under-test")
            .arg("--data-dir")
            .arg(&self.data_dir)
            .arg(format!("--listen-client-urls={client}"))
            .arg(format!("--advertise-client-urls={client}"))
            .arg(format!("--listen-peer-urls={peer}"))
            .arg(format!("--initial-advertise-peer-urls={peer}"))
            .arg(format!("--initial-cluster=under-test={peer}"))
            .args(&self.extra_args)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .map_err(HarnessError::io(format!("start {}", self.binary.display())))?;
        Ok(Server { child, spec: self.clone(), log_from: from })
    }
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    spec: ServerSpec,
    log_from: u64,
}

impl Server {
    /// Waits until a linearizable read is answered.
    pub async fn until_ready(&mut self) -> Result<Connection, HarnessError> {
        let everything = Range { range: KeyRange::all(), revision: None, serializable: false };
        let probe = Op::Range(everything);
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            if let Some(status) = self.exited()? {
                return Err(self.exit_error(status));
            }
            let mut connection = Connection::lazy(&self.spec.endpoint());
            if let Outcome::Ok(_) = connection.call(&probe, Duration::from_secs(2)).await {
                return Ok(connection);
            }
            sleep(Duration::from_millis(10)).await;
        }
        Err(self.timed_out("serve"))
    }

    /// The exit status, if it has exited.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>, HarnessError> {
        self.child.try_wait().map_err(HarnessError::io("ask for the exit status"))
    }

    /// SIGKILL, and wait until the process is gone.
    pub async fn kill(mut self) -> Result<(), HarnessError> {
        self.child.kill().await.map_err(HarnessError::io("kill the server"))
    }

    /// SIGTERM, and wait until the process has gone by itself.
    pub async fn terminate(mut self) -> Result<ExitStatus, HarnessError> {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            let pid = rustix::process::Pid::from_raw(pid).expect("a pid is not 0");
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)
                .map_err(|error| HarnessError::io("terminate the server")(error.into()))?;
        }
        match timeout(DEADLINE, self.child.wait()).await {
            Ok(status) => status.map_err(HarnessError::io("wait for the server")),
            Err(_) => Err(self.timed_out("stop after SIGTERM")),
        }
    }

    /// What the server has logged since this start.
    pub fn log_text(&self) -> String {
        use std::io::{Read, Seek, SeekFrom};
        let mut text = Vec::new();
        let read = File::open(&self.spec.log).and_then(|mut log| {
            log.seek(SeekFrom::Start(self.log_from))?;
            log.read_to_end(&mut text)
        });
        match read {
            Ok(_) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) => format!("(the log cannot be read: {error})"),
        }
    }

    /// For a server that exited when it should have served.
    pub(crate) fn exit_error(&self, status: ExitStatus) -> HarnessError {
        HarnessError::Exited { status, log: self.spec.log.clone(), tail: self.log_tail() }
    }

    fn timed_out(&self, what: &'static str) -> HarnessError {
        HarnessError::TimedOut {
            what,
            seconds: DEADLINE.as_secs(),
            log: self.spec.log.clone(),
            tail: self.log_tail(),
        }
    }

    fn log_tail(&self) -> String {
        let text = self.log_text();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}
