//! `grpc_server_*`: what happens to RPCs, per method.

use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tonic::Code;

use super::buckets;
use super::counter::Counter;
use super::family::Family;
use super::groups::seconds;
use crate::rpc::method::Method;

/// Every code with the name Go gives it, at the index of its number.
const CODES: [(Code, &str); 17] = [
    (Code::Ok, "OK"),
    (Code::Cancelled, "Canceled"),
    (Code::Unknown, "Unknown"),
    (Code::InvalidArgument, "InvalidArgument"),
    (Code::DeadlineExceeded, "DeadlineExceeded"),
    (Code::NotFound, "NotFound"),
    (Code::AlreadyExists, "AlreadyExists"),
    (Code::PermissionDenied, "PermissionDenied"),
    (Code::ResourceExhausted, "ResourceExhausted"),
    (Code::FailedPrecondition, "FailedPrecondition"),
    (Code::Aborted, "Aborted"),
    (Code::OutOfRange, "OutOfRange"),
    (Code::Unimplemented, "Unimplemented"),
    (Code::Internal, "Internal"),
    (Code::Unavailable, "Unavailable"),
    (Code::DataLoss, "DataLoss"),
    (Code::Unauthenticated, "Unauthenticated"),
];

/// The counters of one method, resolved at start.
#[derive(Clone, Debug)]
pub struct MethodMetrics {
    /// Requests begun.
    pub started: Counter,
    /// Messages received.
    pub received: Counter,
    /// Messages sent.
    pub sent: Counter,
    handled: [Counter; CODES.len()],
    handling: Option<Histogram>,
}

impl MethodMetrics {
    /// Counts the end of a request, and how long it took (`--metrics extensive`).
    pub fn ended(&self, code: Code, took: Duration) {
        self.handled[code as usize].inc();
        if let Some(handling) = &self.handling {
            handling.observe(seconds(took));
        }
    }
}

/// The counters of every method.
#[derive(Clone, Debug)]
pub struct RpcMetrics {
    methods: Vec<MethodMetrics>,
}

impl RpcMetrics {
    /// `extensive` adds the histogram of latencies (`--metrics extensive`).
    pub(super) fn register(registry: &mut Registry, extensive: bool) -> Self {
        let started = Family::new(Counter::default);
        let handled = Family::new(Counter::default);
        let received = Family::new(Counter::default);
        let sent = Family::new(Counter::default);
        let handling = extensive.then(|| Family::new(buckets::rpc_seconds));
        let methods = Method::ALL.iter().map(|method| {
            let labels = [
                ("grpc_method", method.name()),
                ("grpc_service", method.service()),
                ("grpc_type", method.shape().label()),
            ];
            MethodMetrics {
                started: started.with(&labels),
                received: received.with(&labels),
                sent: sent.with(&labels),
                handled: CODES.map(|(_, code)| {
                    handled.with(&[("grpc_code", code), labels[0], labels[1], labels[2]])
                }),
                handling: handling.as_ref().map(|handling| handling.with(&labels)),
            }
        });
        let methods = methods.collect();
        registry.register("grpc_server_started_total", "RPCs begun", started);
        registry.register("grpc_server_handled_total", "RPCs ended, by status code", handled);
        registry.register("grpc_server_msg_received_total", "Messages received", received);
        registry.register("grpc_server_msg_sent_total", "Messages sent", sent);
        if let Some(handling) = handling {
            registry.register("grpc_server_handling_seconds", "Time of RPCs", handling);
        }
        Self { methods }
    }

    /// The counters of one method: an index, no lookup.
    pub fn method(&self, method: Method) -> &MethodMetrics {
        &self.methods[method as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_stand_at_their_number() {
        for (at, (code, _)) in CODES.iter().enumerate() {
            assert_eq!(*code as usize, at);
        }
    }

    #[test]
    fn a_request_is_counted_by_its_end() {
        let mut registry = Registry::default();
        let metrics = RpcMetrics::register(&mut registry, true);
        let put = metrics.method(Method::Put);
        put.ended(Code::Ok, Duration::from_millis(3));
        put.ended(Code::Cancelled, Duration::from_millis(3));
        let count = |code: Code| put.handled[code as usize].get();
        assert_eq!((count(Code::Ok), count(Code::Cancelled)), (1, 1));
        let mut text = String::new();
        prometheus_client::encoding::text::encode_registry(&mut text, &registry).unwrap();
        let line = "grpc_server_handling_seconds_count{grpc_method=\"Put\",\
                    grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 2";
        assert!(text.lines().any(|found| found == line));
    }
}
