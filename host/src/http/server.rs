//! What is served: all routes behind the guard, and their documentation.

use std::sync::atomic::{AtomicBool, Ordering};

use axum::routing::get;
use axum::{Json, Router, middleware};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;

use super::ApiError;
use super::guard::{Guard, guard};

/// Title and version of the API's documentation; the engines' own parts are merged into it.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "watchfire", description = "Logs, metrics, errors and alerts of one monitoring host.", license(name = "MIT")),
    components(schemas(super::error::ErrorBody)),
    paths(openapi)
)]
struct ApiDoc;

/// Returns the documentation of the whole API, made of the parts of each room.
#[must_use]
pub fn documentation(parts: impl IntoIterator<Item = utoipa::openapi::OpenApi>) -> utoipa::openapi::OpenApi {
    let mut whole = ApiDoc::openapi();
    for part in parts {
        whole.merge(part);
    }
    whole
}

/// Serves the documentation of the API as OpenAPI 3.1.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "host", responses((status = 200, description = "OpenAPI 3.1")))]
#[expect(dead_code, reason = "documents the route below, which holds its answer")]
fn openapi() {}

/// Returns `routes` with the documentation, answers for unknown paths, the guard, and a net for panics.
pub fn assemble(routes: Router, documentation: &utoipa::openapi::OpenApi, access: Guard) -> Router {
    let document = serde_json::to_value(documentation).unwrap_or_default();
    routes
        .route("/api/v1/openapi.json", get(move || async move { Json(document) }))
        .fallback(|uri: axum::http::Uri| async move { ApiError::not_found(nothing_at(uri.path())) })
        .method_not_allowed_fallback(|method: axum::http::Method, uri: axum::http::Uri| async move {
            ApiError::method_not_allowed(format!(
                "`{}` does not take {method}; /api/v1/openapi.json says what it takes",
                uri.path()
            ))
        })
        .layer(middleware::from_fn_with_state(access, guard))
        .layer(CatchPanicLayer::new())
}

/// Says that there is nothing at `path`, and where to look. A sender that leaves out the folder of its protocol is told, and so is
/// whoever reads the log: its records go nowhere.
fn nothing_at(path: &str) -> String {
    static WARNED: AtomicBool = AtomicBool::new(false);
    let folder = match path {
        path if path.ends_with("/_bulk") || path.starts_with("/_") => "/elasticsearch",
        "/api/prom/push" => "/loki/api/v1/push",
        _ => return format!("there is nothing at `{path}`; /api/v1/openapi.json lists what there is"),
    };
    if !WARNED.swap(true, Ordering::Relaxed) {
        tracing::warn!("something sends to `{path}`, where nothing is taken: give it {folder} at the end of this host's address");
    }
    format!(
        "there is nothing at `{path}`: that API lies under {folder} here, so give the client that path at the end of this host's address"
    )
}
