//! The API. The layer measures every request; what a handler captures or logs belongs to its request's trace.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use watchfire_client::{RequestLayer, fields, get_logger, increment_counter};

use crate::store::{Product, Store};

/// Why a request fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("there is no product {0}")]
    NoProduct(i64),
    #[error("the product cannot be stored")]
    Store(#[from] rusqlite::Error),
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::NoProduct(_) => StatusCode::NOT_FOUND,
            Self::Store(rusqlite::Error::SqliteFailure(error, _)) if error.code == rusqlite::ErrorCode::ConstraintViolation => {
                StatusCode::CONFLICT
            }
            // Captured already, where it came up: the store's functions are measured.
            Self::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(serde_json::json!({ "error": self.to_string() }))).into_response()
    }
}

#[derive(Debug, Deserialize)]
struct Page {
    #[serde(default)]
    category: String,
    limit: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct NewProduct {
    name: String,
    category: String,
    price: i64,
}

/// Returns the routes of the API.
pub(crate) fn router(store: Store) -> Router {
    Router::new()
        .route("/api/products", get(list).post(add))
        .route("/api/products/{id}", get(show))
        .route("/api/broken", get(broken))
        .layer(RequestLayer::new())
        .with_state(store)
}

async fn list(State(store): State<Store>, Query(page): Query<Page>) -> Result<Json<Vec<Product>>, ApiError> {
    Ok(Json(store.list(&page.category, page.limit.unwrap_or(20).min(100))?))
}

async fn show(State(store): State<Store>, Path(id): Path<i64>) -> Result<Json<Product>, ApiError> {
    increment_counter("product_views", 1, &[]);
    store.find(id)?.map(Json).ok_or(ApiError::NoProduct(id))
}

async fn add(State(store): State<Store>, Json(product): Json<NewProduct>) -> Result<StatusCode, ApiError> {
    store.insert(&product.name, &product.category, product.price)?;
    get_logger("product_sync::api")
        .log_business_event("product_added", fields! { name: product.name, category: product.category, price: product.price });
    Ok(StatusCode::CREATED)
}

/// Asks for what is not there, so that an operator sees what becomes of it.
async fn broken(State(store): State<Store>) -> Result<Json<Vec<Product>>, ApiError> {
    Ok(Json(store.list_archive()?))
}
