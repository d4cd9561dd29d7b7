//! Requests, by what they ask and how they end.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use prometheus_client::metrics::histogram::Histogram;

use super::counter::Counter;
use super::family::Family;
use super::operation::Operation;
use super::timed::ByOutcome;

/// Times of requests, of applying, and of ranges.
#[derive(Clone, Debug)]
pub struct RequestMetrics {
    /// Range, from its arrival on.
    pub range: ByOutcome,
    /// A transaction that only reads.
    pub read_only_txn: ByOutcome,
    /// The execution of a range alone.
    pub range_execution: ByOutcome,
    proposals: Vec<ByOutcome>,
    applies: Vec<ByOutcome>,
}

impl RequestMetrics {
    pub(super) fn new(
        requests: &Family<Histogram>,
        applies: &Family<Histogram>,
        ranges: &Family<Histogram>,
    ) -> Self {
        let of_type = |name| ByOutcome::new(requests, [("type", name)]);
        let of_op = |name| ByOutcome::new(applies, [("version", "v3"), ("op", name)]);
        Self {
            range: of_type("Range"),
            read_only_txn: of_type("ReadonlyTxn"),
            range_execution: ByOutcome::new(ranges, []),
            proposals: Operation::ALL.map(|(_, name)| of_type(name)).into(),
            applies: Operation::ALL.map(|(_, name)| of_op(name)).into(),
        }
    }

    /// A proposal came to its end; `success` says that it was applied, whatever the answer.
    pub fn proposed(&self, operation: Operation, success: bool, took: Duration) {
        self.proposals[operation as usize].observe(success, took);
    }

    /// A command was applied.
    pub fn applied(&self, operation: Operation, success: bool, took: Duration) {
        self.applies[operation as usize].observe(success, took);
    }
}

/// Versions told apart; a client that invents more of them cannot fill the memory.
const MAX_VERSIONS: usize = 64;
/// For clients that name no version, and for those beyond [`MAX_VERSIONS`].
const UNKNOWN: &str = "unknown";

/// `etcd_server_client_requests_total`: requests by the client's API version.
#[derive(Clone, Debug)]
pub struct ClientRequests {
    family: Family<Counter>,
    known: Arc<RwLock<Vec<Known>>>,
}

#[derive(Clone, Debug)]
struct Known {
    is_stream: bool,
    version: String,
    counter: Counter,
}

impl ClientRequests {
    pub(super) fn new(family: &Family<Counter>) -> Self {
        Self { family: family.clone(), known: Arc::default() }
    }

    /// Counts one request of a client that says it speaks `version`.
    pub fn count(&self, is_stream: bool, version: Option<&str>) {
        let version = version.unwrap_or(UNKNOWN);
        let is_it = |known: &&Known| known.is_stream == is_stream && known.version == version;
        if let Some(known) = self.known.read().iter().find(is_it) {
            known.counter.inc();
            return;
        }
        self.learn(is_stream, version).inc();
    }

    fn learn(&self, is_stream: bool, version: &str) -> Counter {
        let mut known = self.known.write();
        let version = if known.len() < MAX_VERSIONS { version } else { UNKNOWN };
        let kind = if is_stream { "stream" } else { "unary" };
        let counter = self.family.with(&[("type", kind), ("client_api_version", version)]);
        if known.len() < MAX_VERSIONS {
            let version = version.to_owned();
            known.push(Known { is_stream, version, counter: counter.clone() });
        }
        counter
    }
}

/// `etcd_network_server_stream_failures_total`. Answers cannot fail to be sent other than by the
/// client's leaving, which is no failure, so there is no `send`.
#[derive(Clone, Debug)]
pub struct StreamFailures {
    /// Watch.
    pub watch: Counter,
    /// Lease.KeepAlive streams.
    pub keep_alive: Counter,
}

impl StreamFailures {
    pub(super) fn new(family: &Family<Counter>) -> Self {
        let of = |api| family.with(&[("Type", "receive"), ("API", api)]);
        Self { watch: of("watch"), keep_alive: of("lease-keepalive") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invented_versions_do_not_pile_up() {
        let family = Family::new(Counter::default);
        let requests = ClientRequests::new(&family);
        requests.count(false, Some("3.7"));
        requests.count(false, Some("3.7"));
        for number in 0..1000 {
            requests.count(true, Some(&number.to_string()));
        }
        let count =
            |kind, version| family.with(&[("type", kind), ("client_api_version", version)]).get();
        assert_eq!(count("unary", "3.7"), 2);
        assert_eq!(count("stream", "unknown"), 1000 - 63);
    }
}
