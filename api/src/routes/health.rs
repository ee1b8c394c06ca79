//! Signs of life for load balancers.

use actix_web::{HttpResponse, web};

use crate::Services;

/// The process runs.
pub(super) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({ "status": "live" }))
}

/// The process and what it needs are there.
pub(super) async fn ready(services: web::Data<Services>) -> HttpResponse {
    let readiness = services.health.readiness().await;
    if readiness.is_ready() {
        HttpResponse::Ok().json(readiness)
    } else {
        HttpResponse::ServiceUnavailable().json(readiness)
    }
}
