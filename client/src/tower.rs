//! A layer for tower services, axum's too: counts, times and logs requests.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;
use tracing::Span;

use crate::metrics::{Kind, Series, registry};
use crate::private_call::request_answered;
use crate::{Logger, get_logger};

type Route = Arc<dyn Fn(&http::request::Parts) -> String + Send + Sync>;

/// Measures requests: `active_requests`, `total_requests` and the timer `api_request_duration` by `endpoint`, `method` and `status`, and a log record for each. What is
/// logged while a request is answered belongs to its trace, that of its `traceparent` if it has one.
///
/// With feature `axum`, the endpoint is axum's route: put the layer on the router with `Router::layer`. Otherwise it is the path with `{id}` in the place of
/// numbers and the like; [`RequestLayer::route`] says it better.
///
/// ```
/// # #[cfg(feature = "axum")]
/// # fn app() -> axum::Router {
/// use axum::{Router, routing::get};
/// use watchfire_client::RequestLayer;
///
/// Router::new().route("/api/products/{id}", get(|| async { "lamp" })).layer(RequestLayer::new())
/// # }
/// ```
#[derive(Clone)]
pub struct RequestLayer {
    logger: Logger,
    route: Option<Route>,
}

impl std::fmt::Debug for RequestLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestLayer").field("logger", &self.logger).finish_non_exhaustive()
    }
}

impl Default for RequestLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl RequestLayer {
    /// Returns the layer.
    #[must_use]
    pub fn new() -> Self {
        Self { logger: get_logger("http"), route: None }
    }

    /// Takes the name of the endpoint from `route`. There should be few: each is a series.
    #[must_use]
    pub fn route(mut self, route: impl Fn(&http::request::Parts) -> String + Send + Sync + 'static) -> Self {
        self.route = Some(Arc::new(route));
        self
    }
}

impl<S> Layer<S> for RequestLayer {
    type Service = RequestService<S>;

    fn layer(&self, inner: S) -> RequestService<S> {
        RequestService { inner, layer: self.clone(), active: registry().series(Kind::Gauge, "active_requests", "", &[]) }
    }
}

/// A service whose requests are measured. See [`RequestLayer`].
#[derive(Clone, Debug)]
pub struct RequestService<S> {
    inner: S,
    layer: RequestLayer,
    active: Option<Arc<Series>>,
}

impl<S, B, A> Service<Request<B>> for RequestService<S>
where
    S: Service<Request<B>, Response = Response<A>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = RequestFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let route = self.layer.route.as_ref().map_or_else(|| endpoint(&parts), |route| route(&parts));
        let traceparent = parts.headers.get("traceparent").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let span = tracing::info_span!(
            target: "watchfire", "api_request", "http.route" = route, "http.request.method" = parts.method.as_str(), traceparent
        );
        if let Some(active) = &self.active {
            active.add(1.0);
        }
        let method = method(&parts.method);
        let request = Open {
            start: Instant::now(),
            route,
            method,
            active: self.active.clone(),
            logger: self.layer.logger.clone(),
            span,
            answered: false,
        };
        let entered = request.span.clone().entered();
        let future = self.inner.call(Request::from_parts(parts, body));
        drop(entered);
        RequestFuture { future, request }
    }
}

pin_project! {
    /// Answers a request that is measured. See [`RequestLayer`].
    pub struct RequestFuture<F> {
        #[pin]
        future: F,
        request: Open,
    }
}

impl<F> std::fmt::Debug for RequestFuture<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestFuture").finish_non_exhaustive()
    }
}

impl<F: Future<Output = Result<Response<A>, E>>, A, E> Future for RequestFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let span = this.request.span.clone();
        let _entered = span.enter();
        let Poll::Ready(answer) = this.future.poll(context) else { return Poll::Pending };
        this.request.end(answer.as_ref().map_or(500, |answer| answer.status().as_u16()));
        Poll::Ready(answer)
    }
}

/// A request that is not answered yet.
struct Open {
    start: Instant,
    route: String,
    method: Cow<'static, str>,
    active: Option<Arc<Series>>,
    logger: Logger,
    span: Span,
    answered: bool,
}

impl Open {
    fn end(&mut self, status: u16) {
        if !std::mem::replace(&mut self.answered, true) {
            if let Some(active) = &self.active {
                active.add(-1.0);
            }
            let milliseconds = self.start.elapsed().as_nanos() as f64 / 1e6;
            request_answered(&self.logger, &self.method, &self.route, status, milliseconds);
        }
    }
}

impl Drop for Open {
    /// Nobody waits for the answer any more, or its handler panicked.
    fn drop(&mut self) {
        self.end(if std::thread::panicking() { 500 } else { 499 });
    }
}

/// Methods come from outside: what is no common one is counted as one.
fn method(method: &http::Method) -> Cow<'static, str> {
    const KNOWN: [&str; 8] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT"];
    KNOWN.iter().find(|known| **known == method.as_str()).map_or(Cow::Borrowed("OTHER"), |known| Cow::Borrowed(*known))
}

#[cfg(feature = "axum")]
fn endpoint(parts: &http::request::Parts) -> String {
    let matched = parts.extensions.get::<axum::extract::MatchedPath>();
    // What no route takes is one endpoint, or whoever tries addresses makes series.
    matched.map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned())
}

#[cfg(not(feature = "axum"))]
fn endpoint(parts: &http::request::Parts) -> String {
    without_ids(parts.uri.path())
}

/// Returns a path with `{id}` where its parts are numbers, UUIDs, hashes, or long.
#[cfg(any(test, not(feature = "axum")))]
fn without_ids(path: &str) -> String {
    const MAX_PARTS: usize = 8;
    let is_id = |part: &str| {
        let digits = part.bytes().filter(u8::is_ascii_digit).count();
        digits > 0 && (digits == part.len() || part.len() > 12) || part.len() > 32
    };
    let parts: Vec<&str> = path.split('/').take(MAX_PARTS).map(|part| if is_id(part) { "{id}" } else { part }).collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lose_what_tells_things_apart() {
        for (path, expected) in [
            ("/api/v1/products", "/api/v1/products"),
            ("/api/products/17", "/api/products/{id}"),
            ("/a/0af7651916cd43dd8448eb211c80319c/b", "/a/{id}/b"),
            ("/a/550e8400-e29b-41d4-a716-446655440000", "/a/{id}"),
            ("/", "/"),
        ] {
            assert_eq!(without_ids(path), expected);
        }
    }
}
