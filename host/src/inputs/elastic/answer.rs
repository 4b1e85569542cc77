//! What a sender is told, in Elasticsearch's words.

use std::fmt::Write as _;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::bulk::{Decoded, Item, Refusal};
use crate::http::ApiError;
use crate::store::Accepted;

/// What the store made of the rows.
#[derive(Debug)]
pub(super) enum Outcome {
    /// They are durable, but for those that are named.
    Stored(Accepted),
    /// None is: the sender may try again.
    Busy {
        /// Which bound was reached.
        reason: String,
        /// How many rows there were.
        rows: u64,
    },
}

impl Outcome {
    /// Returns why row `row` is not stored. Rows are asked for in their order; `next` is where the last one ended.
    fn refusal(&self, row: u32, next: &mut usize) -> Option<Refusal> {
        match self {
            Self::Busy { reason, .. } => {
                Some(Refusal { status: 429, kind: "es_rejected_execution_exception", reason: reason.clone() })
            }
            Self::Stored(accepted) => {
                let (refused, reason) = accepted.refused.get(*next)?;
                if *refused != row {
                    return None;
                }
                *next += 1;
                Some(Refusal { status: 400, kind: "illegal_argument_exception", reason: format!("the record is {reason}") })
            }
        }
    }
}

/// What a sender wants to be told: `filter_path`, as far as it goes for this answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    paths: Vec<String>,
}

impl Filter {
    /// Reads it from a query.
    pub(super) fn of(query: &str) -> Self {
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        let paths = pairs
            .filter(|(key, _)| key == "filter_path")
            .flat_map(|(_, paths)| paths.split(',').map(|path| path.trim().to_owned()).collect::<Vec<_>>());
        Self { paths: paths.filter(|path| !path.is_empty() && !path.starts_with('-')).collect() }
    }

    /// Returns whether a field at the top is wanted.
    fn wants(&self, name: &str) -> bool {
        self.paths.is_empty() || self.paths.iter().any(|path| path == name || path == "*" || path == "**")
    }

    /// Returns whether a field of items is wanted; with an empty name, whether any is.
    fn wants_of_items(&self, name: &str) -> bool {
        let fits = |path: &String| {
            let mut parts = path.split('.');
            if parts.next() != Some("items") {
                return matches!(path.as_str(), "*" | "**");
            }
            // The name of the action, then the field; what is missing means all.
            match (parts.next(), parts.next()) {
                (None | Some("**"), _) | (Some(_), None) => true,
                (Some(_), Some(field)) => name.is_empty() || field == name || field == "*",
            }
        };
        self.paths.is_empty() || self.paths.iter().any(fits)
    }
}

/// Returns the answer to a bulk request.
pub(super) fn bulk(decoded: &Decoded, outcome: &Outcome, filter: &Filter, took: Duration) -> Response {
    let mut items = String::with_capacity(decoded.items.len() * 160 + 64);
    let (mut row, mut next, mut errors) = (0, 0, false);
    let indices: Vec<String> = decoded.indices.iter().map(|index| Value::from(index.as_str()).to_string()).collect();
    for item in &decoded.items {
        let refusal = item.refusal.clone().or_else(|| {
            row += 1;
            outcome.refusal(row - 1, &mut next)
        });
        errors |= refusal.is_some();
        items.push(if items.is_empty() { '[' } else { ',' });
        push_item(&mut items, item, &indices[item.index as usize], refusal.as_ref(), filter);
    }
    items.push_str(if items.is_empty() { "[]" } else { "]" });
    let mut body = String::with_capacity(items.len() + 64);
    let mut separator = '{';
    let mut field = |name: &str, value: &str| {
        body.push(separator);
        separator = ',';
        // Writing into a `String` cannot fail.
        let _ = write!(body, "\"{name}\":{value}");
    };
    if filter.wants("took") {
        field("took", &took.as_millis().to_string());
    }
    if filter.wants("errors") {
        field("errors", if errors { "true" } else { "false" });
    }
    if filter.wants_of_items("") {
        field("items", &items);
    }
    body.push_str(if separator == '{' { "{}" } else { "}" });
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Appends `{"create":{…}}`.
fn push_item(out: &mut String, item: &Item, index: &str, refusal: Option<&Refusal>, filter: &Filter) {
    let _ = write!(out, "{{\"{}\":{{", item.kind.name());
    let start = out.len();
    let mut field = |name: &str, value: &dyn std::fmt::Display| {
        if filter.wants_of_items(name) {
            let _ = write!(out, "{}\"{name}\":{value}", if out.len() == start { "" } else { "," });
        }
    };
    field("_index", &index);
    if filter.wants_of_items("_id") {
        field("_id", &Value::from(id_of(item)));
    }
    match refusal {
        None => {
            field("_version", &1);
            field("result", &"\"created\"");
            field("_shards", &r#"{"total":1,"successful":1,"failed":0}"#);
            field("_seq_no", &0);
            field("_primary_term", &1);
            field("status", &201);
        }
        Some(refusal) => {
            field("status", &refusal.status);
            field("error", &json!({"type": refusal.kind, "reason": refusal.reason}));
        }
    }
    out.push_str("}}");
}

/// Returns the id of a document: the sender's, or one that nobody else has.
fn id_of(item: &Item) -> String {
    const CHARACTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    item.id.clone().unwrap_or_else(|| {
        let random = fastrand::u128(..);
        (0..20).map(|place| char::from(CHARACTERS[(random >> (6 * place) & 63) as usize])).collect()
    })
}

/// Returns the answer to a single document.
pub(super) fn one(decoded: &Decoded, outcome: &Outcome) -> Response {
    let Some(item) = decoded.items.first() else { return failure(&ApiError::bad_request("there is no document")) };
    let refusal = item.refusal.clone().or_else(|| outcome.refusal(0, &mut 0));
    if let Some(Refusal { status, kind, reason }) = refusal {
        return error(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST), kind, &reason);
    }
    let answer = json!({
        "_index": decoded.indices[0], "_id": id_of(item), "_version": 1, "result": "created",
        "_shards": {"total": 1, "successful": 1, "failed": 0}, "_seq_no": 0, "_primary_term": 1,
    });
    (StatusCode::CREATED, axum::Json(answer)).into_response()
}

/// Returns the answer to a request that failed as a whole.
pub(super) fn failure(failed: &ApiError) -> Response {
    // Elasticsearch says 429 where the host says 503 elsewhere: its clients try both again, and wait longer after this.
    let (status, kind) = match failed.status() {
        StatusCode::SERVICE_UNAVAILABLE => (StatusCode::TOO_MANY_REQUESTS, "es_rejected_execution_exception"),
        status @ StatusCode::PAYLOAD_TOO_LARGE => (status, "content_too_long_exception"),
        status @ StatusCode::UNSUPPORTED_MEDIA_TYPE => (status, "media_type_header_exception"),
        status @ StatusCode::NOT_FOUND => (status, "resource_not_found_exception"),
        status @ StatusCode::BAD_REQUEST => (status, "illegal_argument_exception"),
        status => (status, "exception"),
    };
    let mut response = error(status, kind, failed.message());
    if let Some(after) = failed.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
    response
}

/// Returns an error as Elasticsearch writes it.
pub(super) fn error(status: StatusCode, kind: &str, reason: &str) -> Response {
    let cause = json!({"type": kind, "reason": reason});
    let body = json!({
        "error": {"root_cause": [cause], "type": kind, "reason": reason},
        "status": status.as_u16(),
    });
    (status, axum::Json(body)).into_response()
}
