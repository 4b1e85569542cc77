//! OTLP over gRPC: `Export` of the three services, and the health check that load balancers ask for.
//!
//! A unary call is little: five bytes before the message, and the outcome in trailers. Read here rather than by a gRPC library, it
//! goes through [`body`] like every other request: bounded in memory and time, decompressed off the async threads, and decoded
//! from its bytes straight into columns.
//!
//! Sources: "gRPC over HTTP2" (PROTOCOL-HTTP2.md), "gRPC compression" (compression.md), and the OpenTelemetry protocol
//! specification, "OTLP/gRPC".

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use base64::Engine as _;
use http_body_util::{BodyExt as _, Full};
use prost::Message;

use super::answer::Partial;
use super::logs_proto;
use super::metrics;
use crate::http::ApiError;
use crate::inputs::InputState;
use crate::inputs::body::{self, Compression};

/// What stands before a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// Most bytes of a message that has next to nothing to say.
const SMALL: usize = 4096;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");

/// The services, as the health check calls them.
const SERVICES: [&str; 3] = [
    "opentelemetry.proto.collector.logs.v1.LogsService",
    "opentelemetry.proto.collector.metrics.v1.MetricsService",
    "opentelemetry.proto.collector.trace.v1.TraceService",
];

/// A number of gRPC's list of status codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
}

impl Code {
    /// Returns the code whose meaning for a sender is that of the HTTP status: what is tried again there is tried again here.
    fn of(error: &ApiError) -> Self {
        match error.status() {
            StatusCode::BAD_REQUEST => Self::InvalidArgument,
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::REQUEST_TIMEOUT => Self::DeadlineExceeded,
            StatusCode::PAYLOAD_TOO_LARGE => Self::ResourceExhausted,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::Unimplemented,
            StatusCode::SERVICE_UNAVAILABLE => Self::Unavailable,
            _ => Self::Internal,
        }
    }
}

/// Returns the paths of the services.
pub(super) fn routes() -> Router<InputState> {
    Router::new()
        .route("/opentelemetry.proto.collector.logs.v1.LogsService/Export", post(export_logs))
        .route("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", post(export_metrics))
        .route("/opentelemetry.proto.collector.trace.v1.TraceService/Export", post(export_traces))
        .route("/grpc.health.v1.Health/Check", post(check))
}

async fn export_logs(State(state): State<InputState>, headers: HeaderMap, body: Body) -> Response {
    export(&state, "otlp_grpc_logs", &headers, body, logs_proto::decode, super::store_logs).await
}

async fn export_metrics(State(state): State<InputState>, headers: HeaderMap, body: Body) -> Response {
    export(&state, "otlp_grpc_metrics", &headers, body, metrics::decode, super::store_metrics).await
}

async fn export_traces(State(state): State<InputState>, headers: HeaderMap, body: Body) -> Response {
    export(&state, "otlp_grpc_traces", &headers, body, super::decode_spans, super::store_exceptions).await
}

/// Does the work of one call, counts it and answers.
async fn export<T: Send + 'static>(
    state: &InputState,
    input: &'static str,
    headers: &HeaderMap,
    body: Body,
    decode: fn(&[u8], usize) -> Result<T, super::DecodeError>,
    store: impl AsyncFnOnce(&InputState, T) -> Result<Partial, ApiError>,
) -> Response {
    let work = async {
        let compression = compression_of(headers)?;
        let budget = state.decode_budget();
        let open = |raw: &[u8]| message(raw, compression);
        let decoded = body::read_opened(state, input, headers, body, open, move |bytes| decode(bytes, budget)).await??;
        store(state, decoded).await
    };
    match work.await {
        Ok(partial) => {
            state.count(input, partial.accepted, partial.rejected);
            reply(&partial.encode())
        }
        Err(error) => {
            state.count_refusal(input, &error);
            failure(&error)
        }
    }
}

/// Returns the compression of messages that say they are compressed.
fn compression_of(headers: &HeaderMap) -> Result<Compression, ApiError> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or("").trim();
    if !text(header::CONTENT_TYPE).starts_with("application/grpc") {
        return Err(ApiError::unsupported(
            "this is a method of gRPC: Content-Type must be `application/grpc`; POST OTLP over HTTP to /v1/logs, /v1/metrics or /v1/traces",
        ));
    }
    match text(GRPC_ENCODING) {
        "" | "identity" => Ok(Compression::Identity),
        "gzip" => Ok(Compression::Gzip),
        "deflate" => Ok(Compression::Deflate),
        "zstd" => Ok(Compression::Zstd),
        "snappy" => Ok(Compression::Snappy),
        other => Err(ApiError::unsupported(format!(
            "grpc-encoding `{}` is not read here; use gzip, deflate, zstd, snappy or none",
            other.chars().take(40).collect::<String>()
        ))),
    }
}

/// Returns how the one message of a call is compressed, and where it begins.
pub(super) fn message(raw: &[u8], compression: Compression) -> Result<(Compression, usize), ApiError> {
    let Some((prefix, rest)) = raw.split_first_chunk::<PREFIX_BYTES>() else {
        return Err(ApiError::bad_request("the call ends before its message"));
    };
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    if length != rest.len() {
        return Err(ApiError::bad_request(format!("a message of {length} bytes was announced and {} bytes came", rest.len())));
    }
    match (prefix[0], compression) {
        (0, _) => Ok((Compression::Identity, PREFIX_BYTES)),
        (1, Compression::Identity) => {
            Err(ApiError::bad_request("the message says that it is compressed, and no grpc-encoding says how"))
        }
        (1, compression) => Ok((compression, PREFIX_BYTES)),
        _ => Err(ApiError::bad_request("a message begins with neither 0 nor 1")),
    }
}

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Whoever can ask is served: a full store is said call by call.
async fn check(headers: HeaderMap, body: Body) -> Response {
    const SERVING: i32 = 1;
    let asked = async {
        compression_of(&headers)?;
        let raw = to_bytes(body, SMALL).await.map_err(|error| ApiError::bad_request(format!("not a health check: {error}")))?;
        let (_, start) = message(&raw, Compression::Identity)?;
        let request = HealthCheckRequest::decode(&raw[start..]);
        let service = request.map_err(|error| ApiError::bad_request(format!("not a health check: {error}")))?.service;
        if service.is_empty() || SERVICES.contains(&service.as_str()) {
            return Ok(());
        }
        Err(ApiError::not_found(format!("there is no service `{service}`")))
    };
    match asked.await {
        Ok(()) => reply(&HealthCheckResponse { status: SERVING }.encode_to_vec()),
        Err(error) => failure(&error),
    }
}

/// Returns the answer of a call that has gone well: one message, then status 0.
fn reply(message: &[u8]) -> Response {
    let mut framed = Vec::with_capacity(PREFIX_BYTES + message.len());
    framed.push(0);
    framed.extend((message.len() as u32).to_be_bytes());
    framed.extend(message);
    let trailers = HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from_static("0"))]);
    let body = Full::new(Bytes::from(framed)).with_trailers(async { Some(Ok(trailers)) });
    with_headers(Body::new(body), HeaderMap::new())
}

/// Returns the answer of a call that has failed: no message, and the status at once ("Trailers-Only").
fn failure(error: &ApiError) -> Response {
    let code = Code::of(error) as i32;
    let mut headers = HeaderMap::new();
    headers.insert(GRPC_STATUS, HeaderValue::from(code));
    headers.extend(HeaderValue::from_str(&percent_encoded(error.message())).ok().map(|message| (GRPC_MESSAGE, message)));
    if let Some(after) = error.retry_after() {
        let delay = Delay { seconds: after.as_secs() as i64, nanos: after.subsec_nanos() as i32 };
        let details = RpcStatus {
            code,
            message: error.message().to_owned(),
            details: vec![Any {
                type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
                value: RetryInfo { retry_delay: Some(delay) }.encode_to_vec(),
            }],
        };
        let text = base64::engine::general_purpose::STANDARD_NO_PAD.encode(details.encode_to_vec());
        headers.extend(HeaderValue::from_str(&text).ok().map(|details| (GRPC_DETAILS, details)));
    }
    with_headers(Body::empty(), headers)
}

fn with_headers(body: Body, headers: HeaderMap) -> Response {
    let mut response = body.into_response();
    response.headers_mut().extend(headers);
    response.headers_mut().insert(header::CONTENT_TYPE, CONTENT_TYPE);
    let encodings = HeaderValue::from_static("identity,gzip,deflate,zstd,snappy");
    response.headers_mut().insert(GRPC_ACCEPT_ENCODING, encodings);
    response
}

/// Returns `text` as a `grpc-message` is written: in printable ASCII, the rest as `%` and two digits.
fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            out.push(char::from(byte));
        } else {
            // Writing into a `String` cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}
