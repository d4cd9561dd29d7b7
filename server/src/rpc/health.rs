//! grpc.health.v1: the service named "" serves; no other is known.

use std::collections::HashMap;

use vetch_proto::grpc::health::health_check_response::ServingStatus;
use vetch_proto::grpc::health::{HealthCheckRequest, HealthCheckResponse, HealthListResponse};

use super::status::Refusal;

/// Health.Check.
pub fn check(request: &HealthCheckRequest) -> Result<HealthCheckResponse, Refusal> {
    if request.service.is_empty() { Ok(serving()) } else { Err(Refusal::UnknownService) }
}

/// Health.List.
pub fn list() -> HealthListResponse {
    HealthListResponse { statuses: HashMap::from([(String::new(), serving())]) }
}

/// Health.Watch's first answer; the stream then stays open, as the status never changes while the
/// node runs. A service that is not served is reported as such, and may appear later by the protocol.
pub fn watch(request: &HealthCheckRequest) -> HealthCheckResponse {
    if request.service.is_empty() {
        serving()
    } else {
        HealthCheckResponse { status: ServingStatus::ServiceUnknown.into() }
    }
}

fn serving() -> HealthCheckResponse {
    HealthCheckResponse { status: ServingStatus::Serving.into() }
}
