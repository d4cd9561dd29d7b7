//! etcd's histogram bounds.

use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

fn doubling(from: f64, count: u16) -> Histogram {
    Histogram::new(exponential_buckets(from, 2.0, count))
}

/// 1 ms to 8 s.
pub(super) fn latency() -> Histogram {
    doubling(0.001, 14)
}

/// 100 µs to 52 s.
pub(super) fn fine_latency() -> Histogram {
    doubling(0.0001, 20)
}

/// 100 µs to 3.3 s.
pub(super) fn round_trip() -> Histogram {
    doubling(0.0001, 16)
}

/// 10 ms to 11 min.
pub(super) fn snapshot_seconds() -> Histogram {
    doubling(0.01, 17)
}

/// 10 ms to 2.7 min.
pub(super) fn hash_seconds() -> Histogram {
    doubling(0.01, 15)
}

/// 100 ms to 7 min.
pub(super) fn defrag_seconds() -> Histogram {
    doubling(0.1, 13)
}

/// 100 ms to 51 s.
pub(super) fn state_seconds() -> Histogram {
    doubling(0.1, 10)
}

/// 1 s to 97 days.
pub(super) fn ttl_seconds() -> Histogram {
    doubling(1.0, 24)
}

/// 1 ms to 4 s, in milliseconds.
pub(super) fn pause_millis() -> Histogram {
    doubling(1.0, 13)
}

/// 100 ms to 14 min, in milliseconds.
pub(super) fn compaction_millis() -> Histogram {
    doubling(100.0, 14)
}

/// The Prometheus libraries' default.
pub(super) fn rpc_seconds() -> Histogram {
    Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])
}
