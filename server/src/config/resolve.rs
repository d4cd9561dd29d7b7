//! From what was written to what the program needs, with every check.

use std::path::PathBuf;
use std::time::Duration;

use vetch_raft::ReadMode;

use super::bootstrap;
use super::error::ConfigError;
use super::flags::Status;
use super::gates::Gate;
use super::settings::{Given, Settings};
use super::tls;
use super::types::{
    AutoCompaction, Compaction, Config, Corruption, EngineKind, Http, Keepalive, Limits, Listen,
    LogConfig, LogFormat, LogLevel, LogOutput, Membership, MetricsLevel, Notice, Origins, Quota,
    Raft, Severity, Storage, Warnings,
};
use super::urls::Url;
use super::value::{Value, parse_duration};

const MAX_ELECTION: Duration = Duration::from_secs(50);
const MIN_PROGRESS: Duration = Duration::from_millis(100);
const ADVISED_REQUEST_BYTES: usize = 10 * 1024 * 1024;

/// Resolves `settings`; `notices` are those of reading them.
pub(super) fn resolve(settings: &Settings, notices: Vec<Notice>) -> Result<Config, ConfigError> {
    let mut notices = notices;
    judge(settings, &mut notices)?;
    let name = settings.text("name");
    let raft = raft(settings)?;
    let listen = listen(settings)?;
    let Listen { client_urls, client_http_urls, metrics_urls, .. } = &listen;
    let client_side: Vec<&Url> =
        client_urls.iter().chain(client_http_urls).chain(metrics_urls).collect();
    let tls = tls::resolve(settings, &client_side, &mut notices)?;
    let bootstrap = bootstrap::resolve(settings)?;
    let peer_side = listen.peer_urls.iter().chain(&bootstrap.advertise_peer_urls);
    let peer_tls = tls::resolve_peer(settings, peer_side, &mut notices)?;
    let config = Config {
        data_dir: data_dir(settings, &name),
        raft,
        listen,
        tls,
        peer_tls,
        bootstrap,
        membership: membership(settings),
        storage: storage(settings),
        limits: limits(settings)?,
        keepalive: keepalive(settings)?,
        compaction: compaction(settings)?,
        corruption: corruption(settings)?,
        watch_progress_notify_interval: duration(settings, "watch-progress-notify-interval")?
            .max(MIN_PROGRESS),
        warnings: Warnings {
            apply: duration(settings, "warning-apply-duration")?,
            unary_request: duration(settings, "warning-unary-request-duration")?,
        },
        http: http(settings),
        metrics: match settings.text("metrics").as_str() {
            "extensive" => MetricsLevel::Extensive,
            _basic => MetricsLevel::Basic,
        },
        log: log(settings)?,
        feature_gates: settings.gates("feature-gates"),
        name,
        notices: Vec::new(),
    };
    advise(settings, &config, &mut notices);
    Ok(Config { notices, ..config })
}

/// Refuses what is not built, and notes what has no effect.
fn judge(settings: &Settings, notices: &mut Vec<Notice>) -> Result<(), ConfigError> {
    for given in settings.all_given() {
        if let Some(deprecated) = given.flag.deprecated {
            notices.push(warn(deprecated, given.flag.name));
        }
        match given.flag.status {
            Status::Ignored(reason) => {
                // The gateway has a notice of its own: its default has no effect either.
                if given.flag.name != "enable-grpc-gateway" {
                    let message = format!("setting has no effect: {reason}");
                    notices.push(warn(&message, &format!("--{}", given.flag.name)));
                }
            }
            Status::Supported => {}
            Status::Rejected(_) if is_default(given) => {}
            Status::Rejected(reason) => {
                return Err(ConfigError::NotBuilt {
                    flag: given.flag.name.to_owned(),
                    value: given.text.clone(),
                    reason: reason.to_owned(),
                });
            }
        }
    }
    Ok(())
}

fn is_default(given: &Given) -> bool {
    Value::parse(given.flag.kind, given.flag.default).as_ref() == Ok(&given.value)
}

fn warn(message: &str, subject: &str) -> Notice {
    Notice { severity: Severity::Warn, message: message.to_owned(), subject: subject.to_owned() }
}

fn invalid<T>(text: String) -> Result<T, ConfigError> {
    Err(ConfigError::Invalid(text))
}

fn non_empty(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn data_dir(settings: &Settings, name: &str) -> PathBuf {
    let given = settings.is_given("data-dir").then(|| settings.text("data-dir"));
    given.and_then(non_empty).unwrap_or_else(|| format!("{name}.etcd")).into()
}

fn duration(settings: &Settings, flag: &str) -> Result<Duration, ConfigError> {
    match u64::try_from(settings.nanos(flag)) {
        Ok(nanos) => Ok(Duration::from_nanos(nanos)),
        Err(_negative) => invalid(format!("--{flag} must not be negative")),
    }
}

fn raft(settings: &Settings) -> Result<Raft, ConfigError> {
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

fn listen(settings: &Settings) -> Result<Listen, ConfigError> {
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

fn membership(settings: &Settings) -> Membership {
    Membership {
        strict_reconfig_check: settings.bool("strict-reconfig-check"),
        // A negative number allows none, as in etcd.
        max_learners: u64::try_from(settings.int("max-learners")).unwrap_or(0),
        auto_promote_learners: settings.bool("auto-promote-learners"),
    }
}

fn storage(settings: &Settings) -> Storage {
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

fn limits(settings: &Settings) -> Result<Limits, ConfigError> {
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

fn keepalive(settings: &Settings) -> Result<Keepalive, ConfigError> {
    let optional = |flag| duration(settings, flag).map(|d| Some(d).filter(|d| !d.is_zero()));
    Ok(Keepalive {
        min_time: optional("grpc-keepalive-min-time")?,
        interval: optional("grpc-keepalive-interval")?,
        timeout: optional("grpc-keepalive-timeout")?,
    })
}

fn compaction(settings: &Settings) -> Result<Compaction, ConfigError> {
    let mode = settings.text("auto-compaction-mode");
    let retention = settings.text("auto-compaction-retention");
    let batch_limit = settings.int("compaction-batch-limit");
    let auto = auto_compaction(&mode, &retention).map_err(|cause| {
        ConfigError::Invalid(format!("error parsing CompactionRetention: {cause}"))
    })?;
    // etcd's flag default is 0, which stands for 1000 there too; for the pause 0 stands for 10 ms.
    let batch_limit = usize::try_from(batch_limit).ok().filter(|limit| *limit > 0).unwrap_or(1000);
    let sleep_interval = duration(settings, "compaction-sleep-interval")?;
    let sleep_interval =
        if sleep_interval.is_zero() { Duration::from_millis(10) } else { sleep_interval };
    Ok(Compaction { auto, batch_limit, sleep_interval })
}

fn corruption(settings: &Settings) -> Result<Corruption, ConfigError> {
    const COMPACTIONS: &str = "compact-hash-check-time";
    let gates = settings.gates("feature-gates");
    let every = duration(settings, "corrupt-check-time")?;
    let nanos = u64::try_from(settings.nanos(COMPACTIONS)).unwrap_or(0);
    if nanos == 0 {
        let given = settings.all_given().find(|given| given.flag.name == COMPACTIONS);
        let given = given.filter(|given| given.value != Value::Duration(0));
        let text = given.map_or("0s", |given| &given.text);
        return invalid(format!("--{COMPACTIONS} must be >0 (set to {text})"));
    }
    let compactions = gates.enabled(Gate::CompactHashCheck);
    Ok(Corruption {
        every: Some(every).filter(|every| !every.is_zero()),
        compactions_every: compactions.then(|| Duration::from_nanos(nanos)),
        initially: gates.enabled(Gate::InitialCorruptCheck),
    })
}

fn auto_compaction(mode: &str, retention: &str) -> Result<AutoCompaction, String> {
    let number = retention.parse::<i64>().ok().filter(|number| *number >= 0);
    match (mode, number) {
        (_, Some(0)) => Ok(AutoCompaction::Off),
        ("revision", Some(revisions)) => Ok(AutoCompaction::Revisions(revisions)),
        (_, Some(hours)) => u64::try_from(hours)
            .ok()
            .and_then(|hours| hours.checked_mul(3600))
            .map(|seconds| AutoCompaction::Periodic(Duration::from_secs(seconds)))
            .ok_or_else(|| format!("time: invalid duration {retention:?}")),
        ("revision", None) => {
            let nanos = parse_duration(retention)?;
            Err(format!("mode 'revision' takes a number of revisions, not a time ({nanos}ns)"))
        }
        (_, None) => match u64::try_from(parse_duration(retention)?) {
            Ok(0) => Ok(AutoCompaction::Off),
            Ok(nanos) => Ok(AutoCompaction::Periodic(Duration::from_nanos(nanos))),
            Err(_negative) => Err(format!("{retention:?} is negative")),
        },
    }
}

fn origins(words: Vec<String>) -> Origins {
    if words.is_empty() || words.iter().any(|word| word == "*" || word.is_empty()) {
        Origins::Any
    } else {
        Origins::Only(words)
    }
}

fn http(settings: &Settings) -> Http {
    Http {
        cors: origins(settings.words("cors")),
        host_whitelist: origins(settings.words("host-whitelist")),
        gateway: settings.bool("enable-grpc-gateway"),
    }
}

fn log(settings: &Settings) -> Result<LogConfig, ConfigError> {
    let level = match settings.text("log-level").as_str() {
        "debug" => LogLevel::Debug,
        "info" => LogLevel::Info,
        "warn" => LogLevel::Warn,
        _error_panic_fatal => LogLevel::Error,
    };
    let format = match settings.text("log-format").as_str() {
        "console" => LogFormat::Console,
        _json => LogFormat::Json,
    };
    let words = settings.words("log-outputs");
    if words.len() > 1 && words.iter().any(|word| word == "default") {
        return invalid("multi logoutput for \"default\" is not supported yet".to_owned());
    }
    let mut outputs = Vec::new();
    for word in words {
        outputs.push(match word.as_str() {
            "default" | "stderr" => LogOutput::Stderr,
            "stdout" => LogOutput::Stdout,
            "systemd/journal" => {
                return Err(ConfigError::NotBuilt {
                    flag: "log-outputs".to_owned(),
                    value: word,
                    reason: "log to stderr, which systemd puts into the journal".to_owned(),
                });
            }
            "" => return invalid("open sink \"\": open : no such file or directory".to_owned()),
            path => LogOutput::File(PathBuf::from(path)),
        });
    }
    if outputs.is_empty() {
        return invalid("--log-outputs names no output".to_owned());
    }
    Ok(LogConfig { level, format, outputs })
}

/// What is in effect, and yet unwise or not what it seems.
fn advise(settings: &Settings, config: &Config, notices: &mut Vec<Notice>) {
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
