//! Speaks with sentry-cli as Sentry does: chunks, bundles, releases.
//!
//! Organizations and projects are Sentry's; the host has none, and takes any name. Whoever uploads needs what the rest of the API needs.

use axum::body::Bytes;
use axum::extract::{Path, RawPathParams, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::assemble::{is_sha1, sha1};
use super::{Assembled, MAX_BUNDLE_BYTES, SourceMaps, Wanted, multipart};
use crate::http::ApiError;
use crate::http::error::ErrorBody;
use crate::inputs::body::Compression;

/// Longest chunk, in bytes; a power of two.
const MAX_CHUNK_BYTES: u64 = 1 << 20;
/// Chunks of one request.
const CHUNKS_PER_REQUEST: u64 = 8;
/// Requests that sentry-cli makes at the same time.
const CONCURRENCY: u64 = 2;

/// Documentation of these paths.
#[derive(utoipa::OpenApi)]
#[openapi(paths(about, options, take_chunks, assemble, assemble_release, create_release, update_release))]
pub struct ApiDoc;

#[derive(Clone)]
struct UploadApi {
    maps: SourceMaps,
    max_request_bytes: u64,
}

/// Returns the paths; a request may have `max_request_bytes`.
pub fn routes(maps: SourceMaps, max_request_bytes: usize) -> Router {
    let organization = "/api/0/organizations/{organization}";
    let project = "/api/0/projects/{organization}/{project}";
    Router::new()
        .route("/api/0/", get(about))
        .route(&format!("{organization}/chunk-upload/"), get(options).post(take_chunks))
        .route(&format!("{organization}/artifactbundle/assemble/"), post(assemble))
        .route(&format!("{organization}/releases/{{version}}/assemble/"), post(assemble_release))
        .route(&format!("{organization}/releases/"), post(create_release))
        .route(&format!("{organization}/releases/{{version}}/"), put(update_release))
        .route(&format!("{project}/releases/"), post(create_release))
        .route(&format!("{project}/releases/{{version}}/"), put(update_release))
        .with_state(UploadApi { maps, max_request_bytes: max_request_bytes as u64 })
}

/// What sentry-cli asks a server first.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct About {
    /// Version of Sentry's API.
    pub version: &'static str,
    /// Users are not told apart here.
    pub user: Option<String>,
}

/// Says which API this is: what `sentry-cli info` asks.
#[utoipa::path(get, path = "/api/0/", tag = "source maps", responses((status = 200, body = About)))]
async fn about() -> Json<About> {
    Json(About { version: "0", user: None })
}

/// How bundles are uploaded.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UploadOptions {
    /// Where chunks are sent.
    pub url: String,
    /// Longest chunk, in bytes.
    pub chunk_size: u64,
    /// Chunks of one request.
    pub chunks_per_request: u64,
    /// Longest bundle, in bytes.
    pub max_file_size: u64,
    /// Longest request, in bytes.
    pub max_request_size: u64,
    /// Requests at the same time.
    pub concurrency: u64,
    /// What names a chunk.
    pub hash_algorithm: &'static str,
    /// How a chunk may be compressed.
    pub compression: [&'static str; 1],
    /// What may be uploaded.
    pub accept: [&'static str; 3],
}

/// Says how bundles are uploaded.
#[utoipa::path(
    get, path = "/api/0/organizations/{organization}/chunk-upload/", tag = "source maps",
    params(("organization" = String, Path, description = "any name")), responses((status = 200, body = UploadOptions)),
)]
async fn options(State(api): State<UploadApi>, Path(organization): Path<String>) -> Json<UploadOptions> {
    // A form with one chunk must fit into a request.
    let chunk_size = MAX_CHUNK_BYTES.min(previous_power_of_two(api.max_request_bytes / 2));
    let chunks_per_request = (api.max_request_bytes / 2 / chunk_size).clamp(1, CHUNKS_PER_REQUEST);
    let name: String = url::form_urlencoded::byte_serialize(organization.as_bytes()).collect();
    Json(UploadOptions {
        url: format!("/api/0/organizations/{}/chunk-upload/", name.replace('+', "%20")),
        chunk_size,
        chunks_per_request,
        max_file_size: MAX_BUNDLE_BYTES,
        max_request_size: chunk_size * chunks_per_request,
        concurrency: CONCURRENCY,
        hash_algorithm: "sha1",
        compression: ["gzip"],
        accept: ["release_files", "artifact_bundles", "artifact_bundles_v2"],
    })
}

fn previous_power_of_two(number: u64) -> u64 {
    1 << number.max(1).ilog2()
}

/// Takes chunks of a bundle: a form with files named by their SHA-1, `file` as they are or `file_gzip`.
#[utoipa::path(
    post, path = "/api/0/organizations/{organization}/chunk-upload/", tag = "source maps",
    params(("organization" = String, Path, description = "any name")),
    request_body(content = Vec<u8>, content_type = "multipart/form-data"),
    responses((status = 200, body = serde_json::Value, description = "durable"), (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody), (status = 413, body = ErrorBody)),
)]
async fn take_chunks(State(api): State<UploadApi>, headers: HeaderMap, body: Bytes) -> Result<Json<serde_json::Value>, ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let boundary = multipart::boundary(kind).map(str::to_owned);
    let boundary = boundary.ok_or_else(|| ApiError::bad_request("chunks come as `multipart/form-data` with a boundary"))?;
    let read = move || chunks(&body, &boundary);
    let chunks = tokio::task::spawn_blocking(read).await.map_err(|_| ApiError::bad_request("the chunks cannot be read"))?;
    api.maps.add_chunks(chunks.map_err(ApiError::bad_request)?).await?;
    Ok(Json(serde_json::json!({})))
}

/// Returns the chunks of a form, each with its SHA-1.
fn chunks(form: &[u8], boundary: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
    let mut chunks = Vec::new();
    for part in multipart::parts(form, boundary)? {
        let compression = match part.name {
            "file" => Compression::Identity,
            "file_gzip" => Compression::Gzip,
            _ => continue,
        };
        let data = compression
            .decompress(part.data, MAX_CHUNK_BYTES as usize)
            .map_err(|_| format!("chunk `{}` is damaged, or longer than {MAX_CHUNK_BYTES} bytes", named(part.file_name)))?;
        let found = sha1(&data);
        if !is_sha1(part.file_name) || found != part.file_name {
            return Err(format!("a chunk has the checksum {found}, not `{}`: send it again", named(part.file_name)));
        }
        chunks.push((found, data));
    }
    if chunks.is_empty() {
        return Err("the form has no part `file` or `file_gzip`".to_owned());
    }
    Ok(chunks)
}

fn named(text: &str) -> String {
    text.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Puts a bundle together of chunks, and stores its files; says which chunks are missing, or what is wrong with it.
#[utoipa::path(
    post, path = "/api/0/organizations/{organization}/artifactbundle/assemble/", tag = "source maps",
    params(("organization" = String, Path, description = "any name")), request_body = Wanted,
    responses((status = 200, body = Assembled), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody)),
)]
async fn assemble(State(api): State<UploadApi>, body: Bytes) -> Result<Json<Assembled>, ApiError> {
    Ok(Json(api.maps.assemble(read(&body)?).await?))
}

/// As above, in the way of sentry-cli of before 2023.
#[utoipa::path(
    post, path = "/api/0/organizations/{organization}/releases/{version}/assemble/", tag = "source maps",
    params(("organization" = String, Path, description = "any name"), ("version" = String, Path, description = "the release")),
    request_body = Wanted,
    responses((status = 200, body = Assembled), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody)),
)]
async fn assemble_release(
    State(api): State<UploadApi>,
    Path((_organization, version)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<Assembled>, ApiError> {
    let wanted = Wanted { version: Some(version), ..read(&body)? };
    Ok(Json(api.maps.assemble(wanted).await?))
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::bad_request(format!("the request is no JSON as expected: {error}")))
}

/// A release, as sentry-cli tells of it.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ReleaseNews {
    /// Its name.
    pub version: Option<String>,
    /// When it was released.
    pub date_released: Option<String>,
}

/// A release, as Sentry answers.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// Its name.
    pub version: String,
    /// Now.
    pub date_created: String,
    /// What was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date_released: Option<String>,
    /// None: the host has no projects.
    pub projects: Vec<String>,
}

/// Takes note of nothing: the host knows a release by its events and its source maps. So that scripts with `sentry-cli releases` go on.
#[utoipa::path(
    post, path = "/api/0/organizations/{organization}/releases/", tag = "source maps",
    params(("organization" = String, Path, description = "any name")), request_body = ReleaseNews,
    responses((status = 201, body = Release), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody)),
)]
async fn create_release(State(api): State<UploadApi>, body: Bytes) -> Result<(StatusCode, Json<Release>), ApiError> {
    let news: ReleaseNews = read(&body)?;
    let version = news.version.filter(|version| !version.is_empty());
    let version = version.ok_or_else(|| ApiError::bad_request("`version`: expected the name of the release"))?;
    Ok((StatusCode::CREATED, Json(api.release(version, news.date_released))))
}

/// As above, for `sentry-cli releases finalize`.
#[utoipa::path(
    put, path = "/api/0/organizations/{organization}/releases/{version}/", tag = "source maps",
    params(("organization" = String, Path, description = "any name"), ("version" = String, Path, description = "the release")),
    request_body = ReleaseNews,
    responses((status = 200, body = Release), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody)),
)]
async fn update_release(State(api): State<UploadApi>, path: RawPathParams, body: Bytes) -> Result<Json<Release>, ApiError> {
    let news: ReleaseNews = read(&body)?;
    let version = path.iter().find(|(name, _)| *name == "version").map(|(_, version)| version.to_owned());
    let version = version.unwrap_or_default();
    Ok(Json(api.release(version, news.date_released)))
}

impl UploadApi {
    fn release(&self, version: String, date_released: Option<String>) -> Release {
        Release { version, date_created: self.maps.0.clock.now().to_string(), date_released, projects: Vec::new() }
    }
}
