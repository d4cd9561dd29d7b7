//! From what was written to what the program needs, with every check.

use std::path::PathBuf;
use std::time::Duration;

use super::bootstrap;
use super::error::ConfigError;
use super::flags::Status;
use super::settings::{Given, Settings};
use super::tls;
use super::types::{Config, Listen, MetricsLevel, Notice, Severity, Warnings};
use super::urls::Url;
use super::value::Value;

mod advice;
mod logging;
mod maintenance;
mod sections;

use advice::advise;
use logging::log;
use maintenance::{compaction, corruption};
use sections::{http, keepalive, limits, listen, membership, raft, storage};

const MIN_PROGRESS: Duration = Duration::from_millis(100);

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
