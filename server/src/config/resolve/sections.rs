//! One part of the configuration each.

use std::time::Duration;

use vetch_raft::ReadMode;

use super::{duration, invalid};
use crate::config::error::ConfigError;
use crate::config::settings::Settings;
use crate::config::types::{
    EngineKind, Http, Keepalive, Limits, Listen, Membership, Origins, Quota, Raft, Storage,
};
use crate::config::urls::Url;

const MAX_ELECTION: Duration = Duration::from_secs(50);

pub(super) fn raft(settings: &Settings) -> Result<Raft, ConfigError> {
    let heartbeat = settings.uint("heartbeat-interval");
    let election = settings.uint("election-timeout");
    for (flag, millis) in [("heartbeat-interval", heartbeat), ("election-timeout", election)] {
        if millis == 0 {
            return invalid(format!("--{flag} must be >0 (set to {millis}ms)"));
        }
    }
    if heartbeat.saturating_mul(5) > election {
        return invalid(format!(
            "--election-timeout[{election}ms] should be at least as 5 times as \
             --heartbeat-interval[{heartbeat}ms]"
        ));
    }
    if u128::from(election) > MAX_ELECTION.as_millis() {
        return invalid(format!(
            "--election-timeout[{election}ms] is too long, and should be set less than {}ms",
            MAX_ELECTION.as_millis()
        ));
    }
    Ok(Raft {
        heartbeat_interval: Duration::from_millis(heartbeat),
        election_timeout: Duration::from_millis(election),
        snapshot_count: settings.uint("snapshot-count"),
        snapshot_catchup_entries: settings.uint("snapshot-catchup-entries"),
        read_mode: match settings.text("read-mode").as_str() {
            "leader-lease" => ReadMode::LeaderLease,
            _read_index => ReadMode::ReadIndex,
        },
    })
}

pub(super) fn listen(settings: &Settings) -> Result<Listen, ConfigError> {
    let urls = |flag: &str| -> Result<Vec<Url>, ConfigError> {
        let urls = settings.urls(flag);
        for url in &urls {
            url.check_bind().map_err(ConfigError::Invalid)?;
        }
        Ok(urls)
    };
    let listen = Listen {
        peer_urls: urls("listen-peer-urls")?,
        client_urls: urls("listen-client-urls")?,
        client_http_urls: urls("listen-client-http-urls")?,
        metrics_urls: urls("listen-metrics-urls")?,
        reuse_port: settings.bool("socket-reuse-port"),
    };
    if listen.client_urls.is_empty() {
        return invalid("--listen-client-urls must not be empty".to_owned());
    }
    Ok(listen)
}

pub(super) fn membership(settings: &Settings) -> Membership {
    Membership {
        strict_reconfig_check: settings.bool("strict-reconfig-check"),
        // A negative number allows none, as in etcd.
        max_learners: u64::try_from(settings.int("max-learners")).unwrap_or(0),
        auto_promote_learners: settings.bool("auto-promote-learners"),
    }
}

pub(super) fn storage(settings: &Settings) -> Storage {
    let quota = match settings.int("quota-backend-bytes") {
        0 => Quota::Bytes(Quota::DEFAULT_BYTES),
        bytes => u64::try_from(bytes).map_or(Quota::Unlimited, Quota::Bytes),
    };
    let engine = match settings.text("storage-engine").as_str() {
        "sled" => EngineKind::Sled,
        _fjall => EngineKind::Fjall,
    };
    Storage { engine, memory_budget_bytes: settings.uint("memory-budget"), quota }
}

pub(super) fn limits(settings: &Settings) -> Result<Limits, ConfigError> {
    let size = |flag: &str| match usize::try_from(settings.uint(flag)) {
        Ok(size) => Ok(size),
        Err(_too_large) => invalid(format!("--{flag} is too large for this machine")),
    };
    let streams = settings.uint("max-concurrent-streams");
    Ok(Limits {
        max_txn_ops: size("max-txn-ops")?,
        max_request_bytes: size("max-request-bytes")?,
        max_concurrent_streams: u32::try_from(streams).unwrap_or(u32::MAX),
    })
}

pub(super) fn keepalive(settings: &Settings) -> Result<Keepalive, ConfigError> {
    let optional = |flag| duration(settings, flag).map(|d| Some(d).filter(|d| !d.is_zero()));
    Ok(Keepalive {
        min_time: optional("grpc-keepalive-min-time")?,
        interval: optional("grpc-keepalive-interval")?,
        timeout: optional("grpc-keepalive-timeout")?,
    })
}

fn origins(words: Vec<String>) -> Origins {
    if words.is_empty() || words.iter().any(|word| word == "*" || word.is_empty()) {
        Origins::Any
    } else {
        Origins::Only(words)
    }
}

pub(super) fn http(settings: &Settings) -> Http {
    Http {
        cors: origins(settings.words("cors")),
        host_whitelist: origins(settings.words("host-whitelist")),
        gateway: settings.bool("enable-grpc-gateway"),
    }
}
