//! The versions Vetch says it is.

/// The level of the etcd API: what etcd clients parse and compare. Digits only, as they demand.
pub const API_VERSION: &str = "3.7.1";
/// The cluster version a fresh cluster runs at.
pub const CLUSTER_VERSION: &str = "3.7.0";
/// The level of the snapshot files that are written.
pub const STORAGE_VERSION: &str = "3.7.0";
/// Vetch's own version.
pub const VETCH_VERSION: &str = env!("CARGO_PKG_VERSION");
