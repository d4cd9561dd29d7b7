//! How a cluster begins and changes.

use std::net::SocketAddr;

use crate::config::urls::Url;

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
