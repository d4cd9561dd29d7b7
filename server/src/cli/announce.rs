//! The first lines of the log.

use crate::config::{Config, Severity};
use crate::version;

/// Logs what is started and what the user should know of the configuration.
pub fn announce(config: &Config) {
    for notice in &config.notices {
        let subject = notice.subject.as_str();
        match notice.severity {
            Severity::Info => tracing::info!(subject, "{}", notice.message),
            Severity::Warn => tracing::warn!(subject, "{}", notice.message),
        }
    }
    let urls = |urls: &[crate::config::Url]| -> Vec<String> {
        urls.iter().map(ToString::to_string).collect()
    };
    tracing::info!(
        etcd_version = version::API_VERSION,
        vetch_version = version::VETCH_VERSION,
        name = config.name,
        data_dir = %config.data_dir.display(),
        heartbeat_interval = ?config.raft.heartbeat_interval,
        election_timeout = ?config.raft.election_timeout,
        snapshot_count = config.raft.snapshot_count,
        listen_client_urls = ?urls(&config.listen.client_urls),
        advertise_client_urls = ?urls(&config.bootstrap.advertise_client_urls),
        quota_backend = ?config.storage.quota,
        storage_engine = ?config.storage.engine,
        auto_compaction = ?config.compaction.auto,
        "starting an etcd server"
    );
}
