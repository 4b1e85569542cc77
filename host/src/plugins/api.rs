//! Plugins over HTTP.

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::log::PluginLine;
use super::room::{PluginView, Plugins, RoomError};
use super::store::Grant;
use crate::http::ApiError;

/// Returns the routes of plugins.
pub fn routes(plugins: Plugins) -> Router {
    Router::new()
        .route("/api/v1/plugins", get(list_plugins))
        .route("/api/v1/plugins/{name}", get(get_plugin).delete(remove_plugin))
        .route("/api/v1/plugins/{name}/enable", post(enable_plugin))
        .route("/api/v1/plugins/{name}/disable", post(disable_plugin))
        .route("/api/v1/plugins/{name}/test", post(test_plugin))
        .route("/api/v1/plugins/{name}/log", get(plugin_log))
        .with_state(plugins)
}

/// Documentation of these paths.
#[derive(utoipa::OpenApi)]
#[openapi(paths(list_plugins, get_plugin, remove_plugin, enable_plugin, disable_plugin, test_plugin, plugin_log))]
pub struct ApiDoc;

/// All plugins.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PluginList {
    /// By name.
    pub plugins: Vec<PluginView>,
}

/// What to switch on, and with what.
#[derive(Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EnableRequest {
    /// What it may have from now on; without, what it had.
    pub grant: Option<Grant>,
}

/// How a test went.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PluginTest {
    /// Whether it works.
    pub passed: bool,
    /// What it says, or what is wrong.
    pub detail: String,
}

/// The last lines of a plugin.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PluginLines {
    /// Oldest first.
    pub lines: Vec<PluginLine>,
}

impl From<RoomError> for ApiError {
    fn from(error: RoomError) -> Self {
        match error {
            RoomError::Unknown { .. } => Self::not_found(error.to_string()),
            RoomError::Refused(message) => Self::conflict(message),
            RoomError::Store(error) => error.into(),
        }
    }
}

/// Lists all components that the host knows, after a look at its folders: what they ask for, what they have, why one does not run.
#[utoipa::path(get, path = "/api/v1/plugins", tag = "plugins", responses((status = 200, body = PluginList)))]
async fn list_plugins(State(plugins): State<Plugins>) -> Result<Json<PluginList>, ApiError> {
    plugins.look().await?;
    Ok(Json(PluginList { plugins: plugins.views() }))
}

/// Returns one plugin.
#[utoipa::path(get, path = "/api/v1/plugins/{name}", tag = "plugins", params(("name" = String, Path,)), responses(
    (status = 200, body = PluginView), (status = 404, body = crate::http::error::ErrorBody)))]
async fn get_plugin(State(plugins): State<Plugins>, Path(name): Path<String>) -> Result<Json<PluginView>, ApiError> {
    plugins.look().await?;
    plugins.view(&name).map(Json).ok_or_else(|| ApiError::not_found(plugins.get(&name).err().unwrap_or_default()))
}

/// Switches a plugin on, live, and grants what it may have.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/enable", tag = "plugins", params(("name" = String, Path,)),
    request_body = EnableRequest, responses((status = 200, body = PluginView), (status = 404, body = crate::http::error::ErrorBody),
    (status = 409, body = crate::http::error::ErrorBody, description = "the configuration decides, or nothing is granted")))]
async fn enable_plugin(
    State(plugins): State<Plugins>,
    Path(name): Path<String>,
    request: Option<Json<EnableRequest>>,
) -> Result<Json<PluginView>, ApiError> {
    plugins.look().await?;
    let grant = request.and_then(|Json(request)| request.grant);
    Ok(Json(plugins.enable(&name, grant).await?))
}

/// Switches a plugin off, live. What it keeps stays.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/disable", tag = "plugins", params(("name" = String, Path,)), responses(
    (status = 200, body = PluginView), (status = 404, body = crate::http::error::ErrorBody)))]
async fn disable_plugin(State(plugins): State<Plugins>, Path(name): Path<String>) -> Result<Json<PluginView>, ApiError> {
    Ok(Json(plugins.disable(&name).await?))
}

/// Deletes a plugin's file from the host's own folder, and its grants.
#[utoipa::path(delete, path = "/api/v1/plugins/{name}", tag = "plugins", params(("name" = String, Path,)), responses(
    (status = 200), (status = 404, body = crate::http::error::ErrorBody),
    (status = 409, body = crate::http::error::ErrorBody, description = "it is not the host's to delete")))]
async fn remove_plugin(State(plugins): State<Plugins>, Path(name): Path<String>) -> Result<Json<serde_json::Value>, ApiError> {
    plugins.remove(&name).await?;
    Ok(Json(serde_json::json!({"removed": name})))
}

/// Tries a plugin: its own test of itself.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/test", tag = "plugins", params(("name" = String, Path,)), responses(
    (status = 200, body = PluginTest), (status = 404, body = crate::http::error::ErrorBody)))]
async fn test_plugin(State(plugins): State<Plugins>, Path(name): Path<String>) -> Result<Json<PluginTest>, ApiError> {
    let tested = plugins.self_test(&name).await?;
    let passed = tested.is_ok();
    Ok(Json(PluginTest { passed, detail: tested.unwrap_or_else(|problem| problem) }))
}

/// Returns the last lines that a plugin wrote.
#[utoipa::path(get, path = "/api/v1/plugins/{name}/log", tag = "plugins", params(("name" = String, Path,)), responses(
    (status = 200, body = PluginLines), (status = 404, body = crate::http::error::ErrorBody)))]
async fn plugin_log(State(plugins): State<Plugins>, Path(name): Path<String>) -> Result<Json<PluginLines>, ApiError> {
    let lines = plugins.lines(&name).ok_or_else(|| ApiError::not_found(format!("no plugin is called `{name}`")))?;
    Ok(Json(PluginLines { lines }))
}
