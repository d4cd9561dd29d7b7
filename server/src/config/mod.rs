//! What may be written (flags, environment, YAML) and what the program needs ([`Config`]).
//!
//! One table, [`flags`], names every flag with its status. [`load`] reads the command line, then
//! either the configuration file or the environment, and `resolve` turns the result once into a
//! validated [`Config`].
//!
//! **Invariant:** nothing the user wrote is dropped in silence: a setting is in effect, or named in
//! [`Config::notices`] with the reason, or an error.

mod bootstrap;
mod command_line;
mod document;
mod environment;
mod error;
mod file;
pub mod flags;
mod gates;
mod help;
mod load;
mod removed;
mod resolve;
mod settings;
mod table;
mod tls;
mod types;
mod urls;
mod value;

pub use bootstrap::{InitialMember, are_same_place};
pub use document::markdown;
pub use error::ConfigError;
pub use gates::{FeatureGates, GATES, Gate, GateInfo, Stage};
pub use help::{help, usage};
pub use load::{Loaded, load};
pub use types::{
    AllowedNames, AutoCompaction, Bootstrap, Certificate, CipherSuite, ClusterState, Compaction,
    Config, Corruption, Discovery, EngineKind, Http, InitialCluster, Keepalive, Limits, Listen,
    LogConfig, LogFormat, LogLevel, LogOutput, Membership, MetricsLevel, Notice, Origins, PeerTls,
    PeerTrust, Quota, Raft, Severity, Storage, Tls, TlsVersion, Warnings,
};
pub use urls::{Scheme, Url};
