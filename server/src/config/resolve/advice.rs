//! What is in effect, and yet unwise or not what it seems.

use vetch_raft::ReadMode;

use super::warn;
use crate::config::settings::Settings;
use crate::config::types::{Config, Notice, Quota};

const ADVISED_REQUEST_BYTES: usize = 10 * 1024 * 1024;

/// What is in effect, and yet unwise or not what it seems.
pub(super) fn advise(settings: &Settings, config: &Config, notices: &mut Vec<Notice>) {
    let mut warn = |message: &str, subject: &str| notices.push(warn(message, subject));
    if config.name == "default" {
        warn(
            "it isn't recommended to use default name, please set a value for --name. Note that \
             etcd might run into issue when multiple members have the same default name",
            "--name",
        );
    }
    if !settings.is_given("data-dir") {
        warn("'data-dir' was empty; using default", &config.data_dir.display().to_string());
    }
    if config.raft.read_mode == ReadMode::LeaderLease {
        let message = "linearizable reads rely on clocks: a member whose clock runs slower than another's \
                       by more than a quarter, or stands still, may read what is no longer true; all \
                       members must have the same --read-mode";
        warn(message, "--read-mode");
    }
    if matches!(config.storage.quota, Quota::Bytes(bytes) if bytes > Quota::ADVISED_BYTES) {
        warn("quota exceeds the maximum value that is advised, 8 GiB", "--quota-backend-bytes");
    }
    if config.limits.max_request_bytes > ADVISED_REQUEST_BYTES {
        warn("exceeded recommended request limit of 10 MiB", "--max-request-bytes");
    }
    if config.http.gateway {
        let message = "the JSON gateway is not built yet: requests to /v3/ are answered with 501; \
                       --enable-grpc-gateway=false silences this line";
        warn(message, "--enable-grpc-gateway");
    }
    if config.corruption.compactions_every.is_none() && settings.is_given("compact-hash-check-time")
    {
        let message = "setting has no effect without --feature-gates=CompactHashCheck=true";
        warn(message, "--compact-hash-check-time");
    }
    for (info, on) in config.feature_gates.iter().filter(|(info, on)| *on != info.default) {
        if let Some(note) = info.note {
            warn(&format!("feature gate has no effect: {note}"), &format!("{}={on}", info.name));
        }
    }
}
