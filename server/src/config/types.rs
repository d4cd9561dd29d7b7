//! What the program needs: every setting typed, with its unit, and checked.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use vetch_raft::ReadMode;

use super::gates::FeatureGates;
use super::urls::Url;

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

/// TLS of listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// What the member shows.
    pub certificate: Certificate,
    /// `--trusted-ca-file`: clients must show a certificate of these authorities.
    pub client_ca: Option<PathBuf>,
    /// `--client-crl-file`: which of their certificates are revoked. Only with [`Tls::client_ca`].
    pub client_crl: Option<PathBuf>,
    /// Whose certificates are taken, of those the authorities signed. Only with [`Tls::client_ca`].
    pub allowed: AllowedNames,
    /// `--cipher-suites`, of TLS 1.2; `None` for all.
    pub suites: Option<Vec<CipherSuite>>,
    /// `--tls-min-version`.
    pub min_version: TlsVersion,
    /// `--tls-max-version`; not below [`Tls::min_version`].
    pub max_version: TlsVersion,
}

/// Which names a certificate must have, besides a signature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AllowedNames {
    /// No particular ones.
    #[default]
    Any,
    /// One of these as its subject's common name: `--peer-cert-allowed-cn`.
    Common(Vec<String>),
    /// One of these among its alternative names, by which wildcards stand for them too:
    /// `--peer-cert-allowed-hostname`, `--client-cert-allowed-hostname`.
    Hosts(Vec<String>),
}

/// TLS between members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerTls {
    /// Of the listeners for peers.
    pub listen: Tls,
    /// Certificate and key that are shown when dialling: `--peer-client-cert-file` and
    /// `--peer-client-key-file`, or the listeners'; none with `--peer-auto-tls`.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Whom to believe when dialling.
    pub trust: PeerTrust,
}

/// Whose certificates a member believes when it dials another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerTrust {
    /// `--peer-trusted-ca-file`.
    Authorities(PathBuf),
    /// Everybody's (`--peer-auto-tls`).
    Anyone,
}

/// Where a member's certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// `--cert-file`, `--key-file`; read anew when they change.
    Files {
        /// The chain, in PEM.
        cert: PathBuf,
        /// Its key, in PEM.
        key: PathBuf,
    },
    /// `--auto-tls`: generated in the data directory, unless it is there.
    SelfSigned {
        /// `--self-signed-cert-validity`.
        years: u32,
    },
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// 1.2
    Tls12,
    /// 1.3
    Tls13,
}

/// A cipher suite of TLS 1.2: those with forward secrecy and authenticated encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum CipherSuite {
    EcdheEcdsaAes128,
    EcdheEcdsaAes256,
    EcdheEcdsaChaCha20,
    EcdheRsaAes128,
    EcdheRsaAes256,
    EcdheRsaChaCha20,
}

impl CipherSuite {
    /// With IANA's names, which are Go's.
    pub const ALL: [(&'static str, Self); 6] = [
        ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", Self::EcdheEcdsaAes128),
        ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", Self::EcdheEcdsaAes256),
        ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", Self::EcdheEcdsaChaCha20),
        ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", Self::EcdheRsaAes128),
        ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", Self::EcdheRsaAes256),
        ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", Self::EcdheRsaChaCha20),
    ];

    /// By its name, or by the shorter one Go once had for those with `ChaCha20`.
    pub fn from_name(name: &str) -> Option<Self> {
        let fits = |known: &str| known == name || known.strip_suffix("_SHA256") == Some(name);
        let chacha = name.ends_with("_CHACHA20_POLY1305");
        let found =
            Self::ALL.iter().find(|(known, _)| if chacha { fits(known) } else { *known == name });
        found.map(|(_, suite)| *suite)
    }
}

/// Whether this member begins a cluster or joins one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterState {
    /// Begin a new cluster.
    New,
    /// Join one.
    Existing,
}

/// Where the members of a new cluster are told; see [`Bootstrap::initial_members`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InitialCluster {
    /// Nowhere: this member is the cluster.
    ThisMember,
    /// `--initial-cluster`, as written.
    Listed(String),
    /// In DNS.
    Discovered(Discovery),
}

/// Where DNS names the members of a new cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// `--discovery-srv`: fully qualified.
    pub domain: String,
    /// `--discovery-srv-name`: the suffix of the services' names; empty for none.
    pub service: String,
    /// Whom to ask; those of the system if there are none.
    pub name_servers: Vec<SocketAddr>,
}

/// How a new cluster begins, and what this member tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// `--initial-advertise-peer-urls`; a new cluster must list the same for this member.
    pub advertise_peer_urls: Vec<Url>,
    /// `--advertise-client-urls`.
    pub advertise_client_urls: Vec<Url>,
    /// Who begins the cluster.
    pub cluster: InitialCluster,
    /// `--initial-cluster-state`.
    pub state: ClusterState,
    /// `--initial-cluster-token`.
    pub token: String,
    /// `--force-new-cluster`.
    pub force_new_cluster: bool,
}

/// What changes of the cluster are allowed, or made by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// `--strict-reconfig-check`.
    pub strict_reconfig_check: bool,
    /// `--max-learners`.
    pub max_learners: u64,
    /// `--auto-promote-learners`.
    pub auto_promote_learners: bool,
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

/// `--log-level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// The usual.
    Info,
    /// What needs attention.
    Warn,
    /// What failed; also for etcd's `panic` and `fatal`.
    Error,
}

/// `--log-format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// Tab-separated, for eyes.
    Console,
}

/// One of `--log-outputs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogOutput {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// A file, appended to.
    File(PathBuf),
}

/// Logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Least level that is logged.
    pub level: LogLevel,
    /// Form of the lines.
    pub format: LogFormat,
    /// Every line goes to each of these.
    pub outputs: Vec<LogOutput>,
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
