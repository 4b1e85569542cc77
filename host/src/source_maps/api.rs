//! What source maps there are, over HTTP.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get};
use axum::{Json, Router};
use serde::Serialize;

use super::{BundleView, SourceMaps};
use crate::http::error::ErrorBody;
use crate::http::{ApiError, Params};

/// Documentation of these paths.
#[derive(utoipa::OpenApi)]
#[openapi(paths(list, remove))]
pub struct ApiDoc;

/// Returns the paths.
pub fn routes(maps: SourceMaps) -> Router {
    Router::new().route("/api/v1/source-maps", get(list)).route("/api/v1/source-maps/{id}", delete(remove)).with_state(maps)
}

/// The bundles that were uploaded.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Bundles {
    /// Those uploaded last first: a thousand at most.
    pub bundles: Vec<BundleView>,
}

/// Lists the source maps that were uploaded.
#[utoipa::path(
    get, path = "/api/v1/source-maps", tag = "source maps",
    params(("release" = Option<String>, Query, description = "only those of this release")),
    responses((status = 200, body = Bundles), (status = 400, body = ErrorBody)),
)]
async fn list(State(maps): State<SourceMaps>, params: Params) -> Result<Json<Bundles>, ApiError> {
    params.only(&["release"])?;
    let bundles = maps.list(params.one("release").map(str::to_owned)).await?;
    Ok(Json(Bundles { bundles }))
}

/// Deletes a bundle of source maps. Events that were resolved with it stay as they are.
#[utoipa::path(
    delete, path = "/api/v1/source-maps/{id}", tag = "source maps", params(("id" = String, Path, description = "as the list says it")),
    responses((status = 204, description = "deleted"), (status = 404, body = ErrorBody)),
)]
async fn remove(State(maps): State<SourceMaps>, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    let found = match id.parse() {
        Ok(number) => maps.remove(number).await?,
        Err(_) => false,
    };
    if found {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::not_found(format!(
            "there is no bundle `{id}` of source maps: `watchfire errors source-maps list` lists them"
        )))
    }
}
