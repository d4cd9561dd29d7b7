//! Every RPC of the protocol, built or not.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// How many messages each side sends; the label `grpc_type` of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One and one.
    Unary,
    /// One request, many answers.
    ServerStream,
    /// Many and many.
    BidiStream,
}

impl Shape {
    /// The label's value.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::ServerStream => "server_stream",
            Self::BidiStream => "bidi_stream",
        }
    }
}

macro_rules! methods {
    ($($variant:ident $service:literal $name:literal $shape:ident,)*) => {
        /// One RPC.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Method {
            $(
                #[doc = concat!($service, "/", $name)]
                $variant,
            )*
        }

        impl Method {
            /// Every RPC, in the order of declaration, so that `ALL[m as usize] == m`.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The service, with its package.
            pub const fn service(self) -> &'static str {
                match self {
                    $(Self::$variant => $service,)*
                }
            }

            /// The method's name within its service.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// How many messages each side sends.
            pub const fn shape(self) -> Shape {
                match self {
                    $(Self::$variant => Shape::$shape,)*
                }
            }

            /// `/service/method`.
            pub const fn path(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!("/", $service, "/", $name),)*
                }
            }
        }
    };
}

methods! {
    Range "etcdserverpb.KV" "Range" Unary,
    RangeStream "etcdserverpb.KV" "RangeStream" ServerStream,
    Put "etcdserverpb.KV" "Put" Unary,
    DeleteRange "etcdserverpb.KV" "DeleteRange" Unary,
    Txn "etcdserverpb.KV" "Txn" Unary,
    Compact "etcdserverpb.KV" "Compact" Unary,
    Watch "etcdserverpb.Watch" "Watch" BidiStream,
    LeaseGrant "etcdserverpb.Lease" "LeaseGrant" Unary,
    LeaseRevoke "etcdserverpb.Lease" "LeaseRevoke" Unary,
    LeaseKeepAlive "etcdserverpb.Lease" "LeaseKeepAlive" BidiStream,
    LeaseTimeToLive "etcdserverpb.Lease" "LeaseTimeToLive" Unary,
    LeaseLeases "etcdserverpb.Lease" "LeaseLeases" Unary,
    MemberAdd "etcdserverpb.Cluster" "MemberAdd" Unary,
    MemberRemove "etcdserverpb.Cluster" "MemberRemove" Unary,
    MemberUpdate "etcdserverpb.Cluster" "MemberUpdate" Unary,
    MemberList "etcdserverpb.Cluster" "MemberList" Unary,
    MemberPromote "etcdserverpb.Cluster" "MemberPromote" Unary,
    Alarm "etcdserverpb.Maintenance" "Alarm" Unary,
    Status "etcdserverpb.Maintenance" "Status" Unary,
    Defragment "etcdserverpb.Maintenance" "Defragment" Unary,
    Hash "etcdserverpb.Maintenance" "Hash" Unary,
    HashKv "etcdserverpb.Maintenance" "HashKV" Unary,
    Snapshot "etcdserverpb.Maintenance" "Snapshot" ServerStream,
    MoveLeader "etcdserverpb.Maintenance" "MoveLeader" Unary,
    Downgrade "etcdserverpb.Maintenance" "Downgrade" Unary,
    AuthEnable "etcdserverpb.Auth" "AuthEnable" Unary,
    AuthDisable "etcdserverpb.Auth" "AuthDisable" Unary,
    AuthStatus "etcdserverpb.Auth" "AuthStatus" Unary,
    Authenticate "etcdserverpb.Auth" "Authenticate" Unary,
    UserAdd "etcdserverpb.Auth" "UserAdd" Unary,
    UserGet "etcdserverpb.Auth" "UserGet" Unary,
    UserList "etcdserverpb.Auth" "UserList" Unary,
    UserDelete "etcdserverpb.Auth" "UserDelete" Unary,
    UserChangePassword "etcdserverpb.Auth" "UserChangePassword" Unary,
    UserGrantRole "etcdserverpb.Auth" "UserGrantRole" Unary,
    UserRevokeRole "etcdserverpb.Auth" "UserRevokeRole" Unary,
    RoleAdd "etcdserverpb.Auth" "RoleAdd" Unary,
    RoleGet "etcdserverpb.Auth" "RoleGet" Unary,
    RoleList "etcdserverpb.Auth" "RoleList" Unary,
    RoleDelete "etcdserverpb.Auth" "RoleDelete" Unary,
    RoleGrantPermission "etcdserverpb.Auth" "RoleGrantPermission" Unary,
    RoleRevokePermission "etcdserverpb.Auth" "RoleRevokePermission" Unary,
    Lock "v3lockpb.Lock" "Lock" Unary,
    Unlock "v3lockpb.Lock" "Unlock" Unary,
    Campaign "v3electionpb.Election" "Campaign" Unary,
    Proclaim "v3electionpb.Election" "Proclaim" Unary,
    Leader "v3electionpb.Election" "Leader" Unary,
    Observe "v3electionpb.Election" "Observe" ServerStream,
    Resign "v3electionpb.Election" "Resign" Unary,
    HealthCheck "grpc.health.v1.Health" "Check" Unary,
    HealthList "grpc.health.v1.Health" "List" Unary,
    HealthWatch "grpc.health.v1.Health" "Watch" ServerStream,
}

/// By path. Sorted, so that a lookup compares few strings; built once, from constants only.
static BY_PATH: LazyLock<BTreeMap<&'static str, Method>> =
    LazyLock::new(|| Method::ALL.iter().map(|method| (method.path(), *method)).collect());

impl Method {
    /// The RPC behind an HTTP/2 `:path`.
    pub fn from_path(path: &str) -> Option<Self> {
        // The calls that come by the thousand first.
        match path {
            "/etcdserverpb.KV/Range" => Some(Self::Range),
            "/etcdserverpb.KV/Put" => Some(Self::Put),
            "/etcdserverpb.KV/Txn" => Some(Self::Txn),
            _ => BY_PATH.get(path).copied(),
        }
    }

    /// Whether any RPC belongs to this service.
    pub fn is_service(name: &str) -> bool {
        Self::ALL.iter().any(|method| method.service() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_found_by_its_path() {
        for (position, method) in Method::ALL.iter().enumerate() {
            assert_eq!(*method as usize, position);
            assert_eq!(Method::from_path(method.path()), Some(*method));
        }
        assert_eq!(Method::from_path("/etcdserverpb.KV/Get"), None);
    }

    #[test]
    fn the_methods_are_those_of_the_protocol() {
        let table = include_str!("../../../proto/tests/etcd-3.7-rpcs.tsv");
        let expected: Vec<String> = table
            .lines()
            .skip(1)
            .map(|line| {
                let cells: Vec<&str> = line.split('\t').collect();
                format!("/{}/{}", cells[0], cells[1])
            })
            .collect();
        let ours: Vec<&str> = Method::ALL.iter().map(|method| method.path()).collect();
        assert_eq!(ours, expected);
    }
}
