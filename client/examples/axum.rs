//! An axum server that is watched: `cargo run -p watchfire-client --features axum --example axum`, then
//! `curl localhost:8080/products/7`, `curl localhost:8080/products/0`, and `watchfire errors`, `watchfire tail`.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Router, extract::rejection::PathRejection};
use watchfire_client::{RequestLayer, fields, get_logger, increment_counter, monitor_database_operation};

#[monitor_database_operation(operation = "SELECT", table = "products")]
async fn find(id: u32) -> Result<Option<String>, std::io::Error> {
    match id {
        0 => Err(std::io::Error::other("the database is gone")),
        1..10 => Ok(Some(format!("product {id}"))),
        _ => Ok(None),
    }
}

async fn product(id: Result<Path<u32>, PathRejection>) -> Result<String, StatusCode> {
    let Path(id) = id.map_err(|_| StatusCode::BAD_REQUEST)?;
    let found = find(id).await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    increment_counter("product_views", 1, &[]);
    get_logger("shop").info_with("product viewed", fields! { product_id: id });
    found.ok_or(StatusCode::NOT_FOUND)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    watchfire_client::init()?;
    let _guard = watchfire_client::guard();
    let app = Router::new().route("/products/{id}", get(product)).layer(RequestLayer::new());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    get_logger("shop").info("listening on http://127.0.0.1:8080");
    axum::serve(listener, app).await?;
    Ok(())
}
