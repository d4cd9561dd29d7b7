//! A node in a temporary directory, and its clients.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use vetch_proto::etcdserverpb::cluster_client::ClusterClient;
use vetch_proto::etcdserverpb::kv_client::KvClient;
use vetch_proto::etcdserverpb::lease_client::LeaseClient;
use vetch_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use vetch_proto::etcdserverpb::watch_client::WatchClient;
use vetch_proto::etcdserverpb::{PutRequest, RangeRequest, RangeResponse, ResponseHeader};
use vetch_raft::disk::{DiskError, DiskObserver};
use vetch_raft::platform::tokio::Tokio;
use vetch_server::config::{Config, Loaded, load};
use vetch_server::metrics::Metrics;
use vetch_server::node::{Node, PeerMeter, Sockets, StartError, peer_dial};
use vetch_storage::NodeId;
use vetch_storage::engine::Options;
use vetch_storage::engine::fjall::FjallEngine;

pub(crate) type Engine = FjallEngine;
pub(crate) type TestNode = Node<Tokio<Engine>>;

/// Longest wait for anything: the machine may be busy with something else, and its disk may stall for
/// seconds.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// A node, and the directory it lives in.
pub(crate) struct Member {
    pub(crate) node: TestNode,
    pub(crate) gate: Arc<Gate>,
    pub(crate) addr: SocketAddr,
}

pub(crate) fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// What `--data-dir` and `flags` configure, on ports that the system chooses.
pub(crate) fn config(dir: &Path, flags: &[&str]) -> Config {
    let own = [
        format!("--data-dir={}", dir.display()),
        "--listen-client-urls=http://127.0.0.1:0".to_owned(),
        "--advertise-client-urls=http://127.0.0.1:0".to_owned(),
        "--listen-peer-urls=http://127.0.0.1:0".to_owned(),
    ];
    let arguments: Vec<String> =
        own.into_iter().chain(flags.iter().map(|&flag| flag.to_owned())).collect();
    match load(&arguments, &[]).unwrap() {
        Loaded::Run(config) => *config,
        Loaded::Version | Loaded::Help => panic!("it was to run"),
    }
}

impl Member {
    pub(crate) async fn start(dir: &Path, flags: &[&str]) -> Self {
        Self::try_start(dir, flags).await.unwrap()
    }

    pub(crate) async fn try_start(dir: &Path, flags: &[&str]) -> Result<Self, StartError> {
        let config = config(dir, flags);
        let sockets = Sockets::bind(&config.listen)?;
        let member = Self::start_on(sockets, config).await?;
        within("the node serves", member.node.serving()).await;
        Ok(member)
    }

    /// One that may have to wait for others before it serves.
    pub(crate) async fn start_on(sockets: Sockets, config: Config) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::new(&config));
        let options = Options { memory_budget: 64 << 20 };
        let gate = Arc::new(Gate::default());
        let open = move |dir: &Path| Engine::open(dir, options);
        let platform = Tokio::new("fjall", open, Arc::clone(&gate) as Arc<dyn DiskObserver>)
            .dialling(peer_dial(&config)?, Arc::new(PeerMeter(Arc::clone(&metrics))));
        let node = Box::pin(Node::start_on(sockets, platform, config, metrics)).await?;
        let addr = node.client_addrs()[0];
        Ok(Self { node, gate, addr })
    }

    pub(crate) fn id(&self) -> NodeId {
        self.node.api().identity.member_id
    }

    pub(crate) async fn stop(self) {
        within("the node has stopped", self.node.shutdown()).await;
    }

    pub(crate) async fn channel(&self) -> Channel {
        connect(self.addr).await
    }

    pub(crate) async fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel().await).max_decoding_message_size(usize::MAX)
    }

    pub(crate) async fn watch(&self) -> WatchClient<Channel> {
        WatchClient::new(self.channel().await).max_decoding_message_size(usize::MAX)
    }

    pub(crate) async fn lease(&self) -> LeaseClient<Channel> {
        LeaseClient::new(self.channel().await)
    }

    pub(crate) async fn maintenance(&self) -> MaintenanceClient<Channel> {
        MaintenanceClient::new(self.channel().await)
    }

    pub(crate) async fn cluster(&self) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel().await)
    }

    /// Puts, and gives back the header.
    pub(crate) async fn put(&self, key: &str, value: &str) -> ResponseHeader {
        let answer = self.kv().await.put(put(key, value)).await.unwrap();
        answer.into_inner().header.unwrap()
    }

    pub(crate) async fn get(&self, key: &str) -> RangeResponse {
        self.kv().await.range(get(key)).await.unwrap().into_inner()
    }

    /// The status and body of an HTTP/1 GET; `None` when nobody listens any more.
    pub(crate) async fn http(&self, path: &str) -> Option<(u16, String)> {
        http(self.addr, path).await
    }

    /// A metric without labels, or with exactly the labels in `name`; in whole numbers.
    #[expect(clippy::cast_possible_truncation, reason = "what is read here is counted")]
    pub(crate) async fn metric(&self, name: &str) -> i64 {
        let (status, text) = self.http("/metrics").await.unwrap();
        assert_eq!(status, 200);
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value: f64 = value.unwrap_or_else(|| panic!("no {name}")).parse().unwrap();
        value as i64
    }
}

pub(crate) async fn connect(addr: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).unwrap();
    // By it the client's HTTP/2 judges how many small unread frames are too many.
    let endpoint = endpoint.initial_connection_window_size(64 << 20);
    within("a connection", endpoint.connect()).await.unwrap()
}

pub(crate) fn put(key: &str, value: &str) -> PutRequest {
    let (key, value) = (key.to_owned().into(), value.to_owned().into());
    PutRequest { key, value, ..PutRequest::default() }
}

pub(crate) fn get(key: &str) -> RangeRequest {
    RangeRequest { key: key.to_owned().into(), ..RangeRequest::default() }
}

pub(crate) fn all() -> RangeRequest {
    RangeRequest { key: vec![0].into(), range_end: vec![0].into(), ..RangeRequest::default() }
}

pub(crate) async fn http(addr: SocketAddr, path: &str) -> Option<(u16, String)> {
    request(addr, "GET", path, "", "").await
}

/// The status and body of an answer over HTTP/1; `headers` are lines with their ends.
pub(crate) async fn request(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> Option<(u16, String)> {
    let mut socket = TcpStream::connect(addr).await.ok()?;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\
         Content-Length: {length}\r\n\r\n{body}"
    );
    socket.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// `wanted`, or a panic that names it.
pub(crate) async fn within<T>(wanted: &str, future: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, future).await;
    done.unwrap_or_else(|_late| panic!("waited too long for: {wanted}"))
}

/// Asks again and again until the answer is `Some`, with a rest in between: what is asked for has the same
/// processors.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
    wanted: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    within(wanted, async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
}

/// The log's disk: open, or so slow that nothing on it ends.
#[derive(Default)]
pub(crate) struct Gate {
    closed: Mutex<bool>,
    opened: Condvar,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

impl Gate {
    /// From now on a write takes until the gate opens.
    pub(crate) fn close(&self) {
        *self.closed.lock() = true;
    }

    pub(crate) fn open(&self) {
        *self.closed.lock() = false;
        self.opened.notify_all();
    }
}

impl DiskObserver for Gate {
    fn synced(&self, _took: Duration) {}

    fn wrote(&self, _bytes: u64, _took: Duration) {
        let mut closed = self.closed.lock();
        while *closed {
            self.opened.wait(&mut closed);
        }
    }

    fn failed(&self, _error: &DiskError) {}
}
