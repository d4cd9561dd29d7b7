//! `/livez`, `/readyz` and their single checks.

use std::fmt::Write;

use axum::body::Body;
use http::{Response, StatusCode};

use super::probe::HealthProbe;
use super::text;
use crate::metrics::Metrics;

/// One thing that is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    SerializableRead,
    LinearizableRead,
    DataCorruption,
    NonLearner,
}

impl Check {
    fn name(self) -> &'static str {
        match self {
            Self::SerializableRead => "serializable_read",
            Self::LinearizableRead => "linearizable_read",
            Self::DataCorruption => "data_corruption",
            Self::NonLearner => "non_learner",
        }
    }

    async fn run(self, probe: &HealthProbe) -> Result<(), String> {
        match self {
            Self::SerializableRead => (probe.serializable_read)().await,
            Self::LinearizableRead => (probe.linearizable_read)().await,
            Self::DataCorruption => {
                // NOSPACE stops writes, not reads: a member with it is ready.
                let corrupt = (probe.alarms)().contains(&"CORRUPT");
                if corrupt { Err("alarm activated: CORRUPT".to_owned()) } else { Ok(()) }
            }
            Self::NonLearner => {
                if (probe.is_learner)() {
                    Err("not supported for learner".to_owned())
                } else {
                    Ok(())
                }
            }
        }
    }
}

/// A set of checks with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Livez,
    Readyz,
}

impl Endpoint {
    pub(super) const ALL: [Self; 2] = [Self::Livez, Self::Readyz];

    /// The check of this name, if it is one of this endpoint's.
    pub(super) fn check(self, name: &str) -> Option<Check> {
        self.checks().iter().copied().find(|check| check.name() == name)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Livez => "livez",
            Self::Readyz => "readyz",
        }
    }

    fn checks(self) -> &'static [Check] {
        match self {
            Self::Livez => &[Check::SerializableRead],
            Self::Readyz => &[
                Check::DataCorruption,
                Check::SerializableRead,
                Check::LinearizableRead,
                Check::NonLearner,
            ],
        }
    }
}

/// All checks of `endpoint`, less those excluded by `query`.
pub(super) async fn all(
    endpoint: Endpoint,
    query: &[(String, String)],
    probe: &HealthProbe,
    metrics: &Metrics,
) -> Response<Body> {
    let excluded: Vec<&str> =
        query.iter().filter(|(key, _)| key == "exclude").map(|(_, check)| check.as_str()).collect();
    let names: Vec<&str> = endpoint.checks().iter().map(|check| check.name()).collect();
    let unknown: Vec<&&str> = excluded.iter().filter(|name| !names.contains(name)).collect();
    if !unknown.is_empty() {
        tracing::warn!(missing_health_checks = ?unknown, "some health checks cannot be excluded");
    }
    let checks = endpoint.checks().iter().filter(|check| !excluded.contains(&check.name()));
    run(endpoint, checks.copied(), query, probe, metrics).await
}

/// One check of `endpoint`.
pub(super) async fn single(
    endpoint: Endpoint,
    check: Check,
    query: &[(String, String)],
    probe: &HealthProbe,
    metrics: &Metrics,
) -> Response<Body> {
    run(endpoint, std::iter::once(check), query, probe, metrics).await
}

async fn run(
    endpoint: Endpoint,
    checks: impl Iterator<Item = Check>,
    query: &[(String, String)],
    probe: &HealthProbe,
    metrics: &Metrics,
) -> Response<Body> {
    let (mut list, mut failed) = (String::new(), false);
    for check in checks {
        let name = check.name();
        let result = check.run(probe).await;
        metrics.health_checked(endpoint.name(), name, result.is_ok());
        // Writing to a String cannot fail.
        let _ok = match result {
            Ok(()) => writeln!(list, "[+]{name} ok"),
            Err(reason) => {
                failed = true;
                writeln!(list, "[-]{name} failed: {reason}")
            }
        };
    }
    if failed {
        tracing::warn!(path = endpoint.name(), list, "Health check error");
        // The blank line at the end is etcd's.
        return text::plain(StatusCode::SERVICE_UNAVAILABLE, list + "\n");
    }
    let verbose = query.iter().any(|(key, _)| key == "verbose");
    let list = if verbose { list } else { String::new() };
    text::plain(StatusCode::OK, list + "ok\n")
}
