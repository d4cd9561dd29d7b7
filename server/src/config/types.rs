//! What the program needs: every setting typed, with its unit, and checked.

use std::path::PathBuf;
use std::time::Duration;

use vetch_raft::ReadMode;

use super::gates::FeatureGates;
use super::urls::Url;

mod cluster;
mod logging;
mod tls;

pub use cluster::{Bootstrap, ClusterState, Discovery, InitialCluster, Membership};
pub use logging::{LogConfig, LogFormat, LogLevel, LogOutput};
pub use tls::{AllowedNames, Certificate, CipherSuite, PeerTls, PeerTrust, Tls, TlsVersion};

/// The resolved configuration of one member. Nothing in it is left to default.
#[derive(Clone, Debug)]
pub struct Config {
    /// `--name`.
    pub name: String,
    /// `--data-dir`, or `<name>.etcd`.
    pub data_dir: PathBuf,
    /// Heartbeats, elections, checkpoints.
    pub raft: Raft,
    /// Where to listen.
    pub listen: Listen,
    /// What listeners with `https://` and `unixs://` URLs need; never `None` if there are any.
    pub tls: Option<Tls>,
    /// What listeners with `https://` and `unixs://` peer URLs need, and what dialling such URLs does.
    pub peer_tls: Option<PeerTls>,
    /// How a new cluster begins.
    pub bootstrap: Bootstrap,
    /// Changes of the cluster.
    pub membership: Membership,
    /// Engine, quota, durability.
    pub storage: Storage,
    /// What one request or connection may ask for.
    pub limits: Limits,
    /// Pings of client connections.
    pub keepalive: Keepalive,
    /// Compaction of history.
    pub compaction: Compaction,
    /// Comparison of what members have stored.
    pub corruption: Corruption,
    /// `--watch-progress-notify-interval`, at least 100 ms.
    pub watch_progress_notify_interval: Duration,
    /// From when on slowness is logged.
    pub warnings: Warnings,
    /// Browsers and hosts.
    pub http: Http,
    /// `--metrics`.
    pub metrics: MetricsLevel,
    /// Logs.
    pub log: LogConfig,
    /// `--feature-gates`.
    pub feature_gates: FeatureGates,
    /// What the user should know about the configuration, to be logged once logs work.
    pub notices: Vec<Notice>,
}

/// Heartbeats, elections, checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raft {
    /// `--heartbeat-interval`.
    pub heartbeat_interval: Duration,
    /// `--election-timeout`: at least 5 heartbeats, at most 50 s.
    pub election_timeout: Duration,
    /// `--snapshot-count`: applied entries between checkpoints.
    pub snapshot_count: u64,
    /// `--snapshot-catchup-entries`: log entries kept behind a checkpoint.
    pub snapshot_catchup_entries: u64,
    /// `--read-mode`.
    pub read_mode: ReadMode,
}

impl Raft {
    /// How long a proposal or a read index may take: 5 s and two election timeouts.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(5) + 2 * self.election_timeout
    }

    /// The least TTL a lease gets: one and a half election timeouts, rounded up to seconds.
    pub fn min_lease_ttl_seconds(&self) -> i64 {
        let millis = self.election_timeout.as_millis() * 3 / 2;
        i64::try_from(millis.div_ceil(1000)).unwrap_or(i64::MAX)
    }
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// `--listen-peer-urls`.
    pub peer_urls: Vec<Url>,
    /// `--listen-client-urls`.
    pub client_urls: Vec<Url>,
    /// `--listen-client-http-urls`; if not empty, [`Listen::client_urls`] serve gRPC alone.
    pub client_http_urls: Vec<Url>,
    /// `--listen-metrics-urls`.
    pub metrics_urls: Vec<Url>,
    /// `--socket-reuse-port`.
    pub reuse_port: bool,
}

/// Which engine holds the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// The default.
    Fjall,
    /// The second engine.
    Sled,
}

/// `--quota-backend-bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// No limit.
    Unlimited,
    /// NOSPACE beyond so many bytes.
    Bytes(u64),
}

impl Quota {
    /// The limit when the flag is 0: 2 GiB.
    pub const DEFAULT_BYTES: u64 = 2 << 30;
    /// Beyond this etcd warns: 8 GiB.
    pub const ADVISED_BYTES: u64 = 8 << 30;
}

/// Engine, quota, durability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storage {
    /// `--storage-engine`.
    pub engine: EngineKind,
    /// `--memory-budget`: all caches and write buffers together.
    pub memory_budget_bytes: u64,
    /// `--quota-backend-bytes`.
    pub quota: Quota,
}

/// What one request or connection may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "the fields are called as their flags")]
pub struct Limits {
    /// `--max-txn-ops`.
    pub max_txn_ops: usize,
    /// `--max-request-bytes`; gRPC accepts 512 KiB more.
    pub max_request_bytes: usize,
    /// `--max-concurrent-streams`, per connection.
    pub max_concurrent_streams: u32,
}

impl Limits {
    /// The largest gRPC message that is read.
    pub fn grpc_receive_bytes(&self) -> usize {
        self.max_request_bytes.saturating_add(512 * 1024)
    }
}

/// Pings of client connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// `--grpc-keepalive-min-time`: clients that ping more often are sent away, if any are.
    pub min_time: Option<Duration>,
    /// `--grpc-keepalive-interval`: pings of ours, if any.
    pub interval: Option<Duration>,
    /// `--grpc-keepalive-timeout`: how long to wait for an answer, if not for ever.
    pub timeout: Option<Duration>,
}

/// `--auto-compaction-mode` and `--auto-compaction-retention`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoCompaction {
    /// Nothing is compacted by itself.
    Off,
    /// History older than this goes.
    Periodic(Duration),
    /// History beyond so many revisions goes.
    Revisions(i64),
}

/// Compaction of history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// When.
    pub auto: AutoCompaction,
    /// `--compaction-batch-limit`: revisions per batch.
    pub batch_limit: usize,
    /// `--compaction-sleep-interval`: pause between batches.
    pub sleep_interval: Duration,
}

/// When what members have stored is read again and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corruption {
    /// `--corrupt-check-time`, if at all: by the leader, everything.
    pub every: Option<Duration>,
    /// `--compact-hash-check-time`, with the gate `CompactHashCheck`: by the leader, what compactions have
    /// hashed.
    pub compactions_every: Option<Duration>,
    /// The gate `InitialCorruptCheck`: by each member, before it serves.
    pub initially: bool,
}

/// From when on slowness is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warnings {
    /// `--warning-apply-duration`.
    pub apply: Duration,
    /// `--warning-unary-request-duration`.
    pub unary_request: Duration,
}

/// A list of names of which `*`, or an empty list, means all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// All.
    Any,
    /// Only these.
    Only(Vec<String>),
}

impl Origins {
    /// Whether `name` is on the list.
    pub fn allows(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Only(names) => names.iter().any(|allowed| allowed == name),
        }
    }
}

/// Browsers and hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// `--cors`.
    pub cors: Origins,
    /// `--host-whitelist`.
    pub host_whitelist: Origins,
    /// `--enable-grpc-gateway`: whether /v3/ answers that it is not built, or 404.
    pub gateway: bool,
}

/// `--metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsLevel {
    /// Counters of RPCs.
    Basic,
    /// And histograms of their latency.
    Extensive,
}

/// How urgent a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// To know.
    Info,
    /// To mind.
    Warn,
}

/// Something the user should know about the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// How urgent.
    pub severity: Severity,
    /// One sentence.
    pub message: String,
    /// The flag, variable, key or value it is about.
    pub subject: String,
}
