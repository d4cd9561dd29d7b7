//! The etcd v3 API as Rust types, generated from `proto/*.proto`.
//!
//! Messages only, no behaviour. Every `bytes` field is a [`bytes::Bytes`]. The gRPC service traits
//! come with feature `server`, the clients with feature `client`.
#![forbid(unsafe_code)]

macro_rules! package {
    ($(#[$doc:meta])* $module:ident, $package:literal) => {
        $(#[$doc])*
        pub mod $module {
            include!(concat!(env!("OUT_DIR"), "/", $package, ".rs"));
        }
    };
}

package!(
    /// Users, roles and permissions.
    authpb,
    "authpb"
);
package!(
    /// The client API: KV, Watch, Lease, Cluster, Maintenance, Auth.
    etcdserverpb,
    "etcdserverpb"
);
package!(
    /// Leases as stored, and peers' questions about them.
    leasepb,
    "leasepb"
);
package!(
    /// Membership facts that travel through etcd's log.
    membershippb,
    "membershippb"
);
package!(
    /// Key-value records and events.
    mvccpb,
    "mvccpb"
);
package!(
    /// Leader election as a service.
    v3electionpb,
    "v3electionpb"
);
package!(
    /// Distributed locks as a service.
    v3lockpb,
    "v3lockpb"
);
package!(
    /// What Vetch writes to its own log.
    vetchpb,
    "vetchpb"
);

/// gRPC's own protocols.
pub mod grpc {
    package!(
        /// Health checking.
        health,
        "grpc.health.v1"
    );
}

/// The encoded `FileDescriptorSet` of every file above.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
