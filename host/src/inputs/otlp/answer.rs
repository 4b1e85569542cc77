//! What a sender is told: success, partial success or a `google.rpc.Status`, in the encoding it sent.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use prost::Message;
use serde_json::json;

use crate::http::ApiError;
use crate::inputs::InputState;

/// How requests and answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `application/x-protobuf`.
    Protobuf,
    /// `application/json`.
    Json,
}

impl Encoding {
    /// Returns the encoding that the request's Content-Type names.
    ///
    /// # Errors
    /// 415 when it names another, or none.
    pub fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let media_type = value.split(';').next().unwrap_or("").trim();
        if media_type.eq_ignore_ascii_case("application/x-protobuf") || media_type.eq_ignore_ascii_case("application/protobuf") {
            Ok(Self::Protobuf)
        } else if media_type.eq_ignore_ascii_case("application/json") {
            Ok(Self::Json)
        } else {
            let got = if media_type.is_empty() { "none".to_owned() } else { format!("`{media_type}`") };
            Err(ApiError::unsupported(format!("Content-Type must be `application/x-protobuf` or `application/json`, not {got}")))
        }
    }

    fn response(self, status: StatusCode, body: Vec<u8>) -> Response {
        let content_type = match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        };
        (status, [(header::CONTENT_TYPE, HeaderValue::from_static(content_type))], body).into_response()
    }
}

/// What became of a request that could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partial {
    /// Records or points that are now durable.
    pub accepted: u64,
    /// Records, data points or spans refused for good.
    pub rejected: u64,
    /// Why, for the first of them.
    pub message: String,
}

impl Partial {
    /// Returns it as protobuf. "Unset when all accepted": nothing at all then.
    pub(super) fn encode(self) -> Vec<u8> {
        let is_partial = self.rejected > 0;
        let success = PartialSuccess { rejected: self.rejected as i64, error_message: self.message };
        ExportResponse { partial_success: is_partial.then_some(success) }.encode_to_vec()
    }
}

/// `ExportLogsServiceResponse`, `ExportMetricsServiceResponse`, `ExportTraceServiceResponse`: the same on the wire.
#[derive(Clone, PartialEq, Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// Does the work of one request, counts it and answers.
pub(super) async fn respond(
    state: &InputState,
    input: &'static str,
    headers: &HeaderMap,
    work: impl AsyncFnOnce(Encoding) -> Result<Partial, ApiError>,
) -> Response {
    let encoding = match Encoding::of(headers) {
        Ok(encoding) => encoding,
        Err(error) => {
            state.count_refusal(input, &error);
            return refusal(Encoding::Json, &error);
        }
    };
    match work(encoding).await {
        Ok(partial) => {
            state.count(input, partial.accepted, partial.rejected);
            success(encoding, input, partial)
        }
        Err(error) => {
            state.count_refusal(input, &error);
            refusal(encoding, &error)
        }
    }
}

fn success(encoding: Encoding, input: &str, partial: Partial) -> Response {
    let body = match encoding {
        Encoding::Protobuf => partial.encode(),
        Encoding::Json if partial.rejected == 0 => b"{}".to_vec(),
        Encoding::Json => {
            let counted = match input {
                "otlp_logs" => "rejectedLogRecords",
                "otlp_metrics" => "rejectedDataPoints",
                _ => "rejectedSpans",
            };
            json!({"partialSuccess": {counted: partial.rejected.to_string(), "errorMessage": partial.message}})
                .to_string()
                .into_bytes()
        }
    };
    encoding.response(StatusCode::OK, body)
}

fn refusal(encoding: Encoding, error: &ApiError) -> Response {
    // Numbers of google.rpc.Code.
    let code = match error.status() {
        StatusCode::BAD_REQUEST | StatusCode::UNSUPPORTED_MEDIA_TYPE => 3,
        StatusCode::PAYLOAD_TOO_LARGE => 8,
        StatusCode::SERVICE_UNAVAILABLE => 14,
        _ => 13,
    };
    let status = Status { code, message: error.message().to_owned() };
    let body = match encoding {
        Encoding::Protobuf => status.encode_to_vec(),
        Encoding::Json => json!({"code": status.code, "message": status.message}).to_string().into_bytes(),
    };
    let mut response = encoding.response(error.status(), body);
    if let Some(after) = error.retry_after() {
        // Whole seconds, rounded up: "0" would mean at once.
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    response
}
