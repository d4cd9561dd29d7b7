//! `/health`.

use axum::body::Body;
use http::{Response, StatusCode};
use serde_json::json;

use super::probe::HealthProbe;
use super::text;
use crate::metrics::Metrics;

/// Alarms, then the leader, then a read; the first trouble is the reason.
pub(super) async fn answer(
    query: &[(String, String)],
    probe: &HealthProbe,
    metrics: &Metrics,
) -> Response<Body> {
    match check(query, probe).await {
        Ok(()) => {
            metrics.server.health_success.inc();
            text::unguarded(StatusCode::OK, body("true", ""))
        }
        Err(reason) => {
            metrics.server.health_failures.inc();
            tracing::warn!(reason, "serving /health false");
            text::plain(StatusCode::SERVICE_UNAVAILABLE, body("false", &reason) + "\n")
        }
    }
}

fn body(health: &str, reason: &str) -> String {
    // The order of the keys is etcd's; a map would sort them the same way.
    json!({"health": health, "reason": reason}).to_string()
}

async fn check(query: &[(String, String)], probe: &HealthProbe) -> Result<(), String> {
    let excluded =
        |alarm: &str| query.iter().any(|(key, value)| key == "exclude" && value == alarm);
    if let Some(alarm) = (probe.alarms)().into_iter().find(|alarm| !excluded(alarm)) {
        return Err(format!("ALARM {alarm}"));
    }
    let serializable = query.iter().find(|(key, _)| key == "serializable");
    if serializable.is_some_and(|(_, value)| value == "true") {
        return (probe.serializable_read)().await.map_err(|cause| format!("RANGE ERROR:{cause}"));
    }
    if !(probe.has_leader)() {
        return Err("RAFT NO LEADER".to_owned());
    }
    (probe.linearizable_read)().await.map_err(|cause| format!("RANGE ERROR:{cause}"))
}
