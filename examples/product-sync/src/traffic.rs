//! Customers who look at products, as long as the service runs.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use tower::ServiceExt as _;
use watchfire_client::{fields, get_logger};

/// Calls the API, pausing between calls as people do.
pub(crate) async fn customer(app: Router, number: usize) {
    let session = format!("customer-{number}");
    get_logger("product_sync::traffic").log_business_event("customer_arrived", fields! { customer: session.clone() });
    for step in 0_u64.. {
        let status = call(&app, number as u64 * 1_000 + step).await;
        // Nobody goes on at once after an error.
        tokio::time::sleep(Duration::from_millis(if status < 500 { fastrand::u64(20..120) } else { 500 })).await;
    }
}

/// Makes one call, mostly a good one; returns its status.
pub(crate) async fn call(app: &Router, step: u64) -> u16 {
    let (method, path, body) = match step % 40 {
        39 => (Method::GET, "/api/broken".to_owned(), Body::empty()),
        38 => (Method::GET, "/api/products/9999".to_owned(), Body::empty()),
        37 => {
            let product = serde_json::json!({ "name": format!("lamp of step {step}"), "category": "lamps", "price": 1_990 });
            (Method::POST, "/api/products".to_owned(), Body::from(product.to_string()))
        }
        36 => (Method::GET, "/nowhere".to_owned(), Body::empty()),
        part if part % 4 == 0 => (Method::GET, "/api/products?category=lamps&limit=5".to_owned(), Body::empty()),
        part => (Method::GET, format!("/api/products/{}", part + 1), Body::empty()),
    };
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json").body(body);
    let answer = app.clone().oneshot(request.expect("it is well formed")).await.unwrap_or_else(|never| match never {});
    answer.status().as_u16()
}
