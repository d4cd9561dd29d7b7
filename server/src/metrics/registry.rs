//! Everything that is measured in one node.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::family::Family;
use super::groups::{
    DiskMetrics, Families, HttpMetrics, LeaseMetrics, MvccMetrics, NetworkMetrics, ServerMetrics,
    WatchMetrics, seconds,
};
use super::peers::PeersMetrics;
use super::process::Process;
use super::requests::{ClientRequests, RequestMetrics, StreamFailures};
use super::rpc::RpcMetrics;
use crate::config::{Config, MetricsLevel, Quota};
use crate::version;

/// What labels say of this member.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// The member's id.
    pub member_id: u64,
}

type Refresh = Box<dyn Fn(&Metrics) + Send + Sync>;

/// The metrics of one node.
pub struct Metrics {
    registry: Registry,
    refresh: OnceLock<Refresh>,
    families: Families,
    /// Durations by request.
    pub requests: RequestMetrics,
    /// Streams whose requests could not be read.
    pub stream_failures: StreamFailures,
    /// Requests by the client's version.
    pub clients: ClientRequests,
    /// RPCs.
    pub rpc: RpcMetrics,
    /// Consensus, health, requests.
    pub server: ServerMetrics,
    /// Keys, revisions, compaction.
    pub mvcc: MvccMetrics,
    /// Watch streams.
    pub watch: WatchMetrics,
    /// Leases.
    pub lease: LeaseMetrics,
    /// Log and engine.
    pub disk: DiskMetrics,
    /// gRPC clients.
    pub network: NetworkMetrics,
    /// What passes between members.
    pub peers: PeersMetrics,
    /// Scrapes.
    pub http: HttpMetrics,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Registers everything. Made before the node knows who it is: see [`identify`](Self::identify).
    pub fn new(config: &Config) -> Self {
        let mut registry = Registry::default();
        let extensive = config.metrics == MetricsLevel::Extensive;
        let families = Families::register(&mut registry);
        let metrics = Self {
            requests: RequestMetrics::new(
                &families.request_duration,
                &families.apply_duration,
                &families.range_duration,
            ),
            stream_failures: StreamFailures::new(&families.stream_failures),
            clients: ClientRequests::new(&families.client_requests),
            families,
            rpc: RpcMetrics::register(&mut registry, extensive),
            server: ServerMetrics::register(&mut registry),
            mvcc: MvccMetrics::register(&mut registry),
            watch: WatchMetrics::register(&mut registry),
            lease: LeaseMetrics::register(&mut registry),
            disk: DiskMetrics::register(&mut registry),
            network: NetworkMetrics::register(&mut registry),
            peers: PeersMetrics::register(&mut registry),
            http: HttpMetrics::register(&mut registry),
            refresh: OnceLock::new(),
            registry,
        };
        metrics.with_constants(config)
    }

    /// Says whose metrics these are. Once.
    pub fn identify(&self, identity: Identity) {
        let id = format!("{:x}", identity.member_id);
        self.families.server_id.with(&[("server_id", &id)]).set(1);
    }

    fn with_constants(mut self, config: &Config) -> Self {
        let mut constant = |name: &str, help: &str, label: &'static str, value: &str| {
            let family = Family::<Gauge>::new(Gauge::default);
            family.with(&[(label, value)]).set(1);
            self.registry.register(name, help, family);
        };
        let api = version::API_VERSION;
        constant(
            "etcd_server_version",
            "1 with the API's version as a label",
            "server_version",
            api,
        );
        let own = version::VETCH_VERSION;
        constant("vetch_version", "1 with Vetch's own version as a label", "vetch_version", own);
        let gates = Family::<Gauge>::new(Gauge::default);
        for (info, on) in config.feature_gates.iter() {
            gates.with(&[("name", info.name), ("stage", info.stage.as_str())]).set(on.into());
        }
        self.registry.register("etcd_server_feature_enabled", "Feature gates", gates);
        self.registry.register_collector(Box::new(Process::new()));
        if let Quota::Bytes(bytes) = config.storage.quota {
            self.server.quota_backend_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        self.mvcc.compact_revision.set(-1);
        // Those that etcd shows before the first scrape.
        for code in ["200", "500"] {
            self.families.scrapes.with(&[("code", code)]);
        }
        self
    }

    /// `refresh` runs before every scrape and sets the gauges that mirror the node's state. It must
    /// be quick and must not block; only the first one counts.
    pub fn set_refresh(&self, refresh: impl Fn(&Self) + Send + Sync + 'static) {
        let _first_one_stays = self.refresh.set(Box::new(refresh));
    }

    /// The metrics as Prometheus reads them (text format 0.0.4).
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        if let Some(refresh) = self.refresh.get() {
            refresh(self);
        }
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        Ok(text)
    }

    /// Counts one check of `/livez` or `/readyz`.
    pub fn health_checked(&self, endpoint: &str, name: &str, good: bool) {
        let labels = [("type", endpoint), ("name", name)];
        self.families.healthcheck.with(&labels).set(good.into());
        let status = if good { "success" } else { "error" };
        self.families.healthchecks.with(&[labels[0], labels[1], ("status", status)]).inc();
    }

    /// Counts one scrape by its status code.
    pub(crate) fn scraped(&self, code: &str) {
        self.families.scrapes.with(&[("code", code)]).inc();
    }

    /// The alarms that are raised, as (member, type): `(0xab, "NOSPACE")`.
    pub fn set_alarms<'a>(&self, alarms: impl IntoIterator<Item = (u64, &'a str)>) {
        self.families.alarms.clear();
        for (member, kind) in alarms {
            let member = format!("{member:x}");
            self.families.alarms.with(&[("server_id", &member), ("alarm_type", kind)]).set(1);
        }
    }

    /// The members that `local` knows, itself included; and which of the others it reaches.
    pub fn set_peers(&self, local: u64, members: impl IntoIterator<Item = u64>) {
        self.peers.show(local);
        self.families.known_peers.clear();
        let local = format!("{local:x}");
        for member in members {
            let remote = format!("{member:x}");
            self.families.known_peers.with(&[("Local", &local), ("Remote", &remote)]).set(1);
        }
    }

    /// The cluster's version, as `3.7`.
    pub fn set_cluster_version(&self, version: &str) {
        self.families.cluster_version.clear();
        self.families.cluster_version.with(&[("cluster_version", version)]).set(1);
    }

    /// A duration as histograms take it.
    pub fn seconds(duration: Duration) -> f64 {
        seconds(duration)
    }
}
