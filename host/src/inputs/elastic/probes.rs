//! What clients ask before they send: is this Elasticsearch, may I, are my templates there. They are told yes: nothing of it changes
//! what is stored.

use axum::Json;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};

use super::answer;

/// The version that is spoken: the last of those that clients of versions 7, 8 and 9 all accept.
const VERSION: &str = "8.19.0";

/// Answers a request that sends no records.
pub(super) fn answer(method: &Method, segments: &[&str]) -> Response {
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    let asks = method == Method::GET || method == Method::HEAD;
    match segments {
        [] if asks => Json(product()).into_response(),
        ["_license"] if asks => Json(json!({"license": license()})).into_response(),
        ["_xpack", ..] if asks => {
            Json(json!({"license": license(), "features": {"ilm": {"available": true, "enabled": true}, "security": {"available": true, "enabled": false}}, "tagline": "You know, for X"}))
                .into_response()
        }
        ["_cluster", "health", ..] if asks => Json(health()).into_response(),
        ["_cluster", ..] if asks => Json(json!({"cluster_name": "watchfire"})).into_response(),
        ["_nodes", ..] if asks => {
            Json(json!({"_nodes": {"total": 1, "successful": 1, "failed": 0}, "cluster_name": "watchfire", "nodes": {}})).into_response()
        }
        ["_cat", ..] if asks => ([(header::CONTENT_TYPE, "text/plain; charset=UTF-8")], "").into_response(),
        // Policies, templates, pipelines: whichever is asked for is there, so that nobody stops because it could not be made.
        ["_index_template", name] if asks => {
            Json(json!({"index_templates": [{"name": name, "index_template": {"index_patterns": []}}]})).into_response()
        }
        ["_component_template", name] if asks => {
            Json(json!({"component_templates": [{"name": name, "component_template": {"template": {}}}]})).into_response()
        }
        ["_data_stream", name] if asks => {
            Json(json!({"data_streams": [{"name": name, "timestamp_field": {"name": "@timestamp"}, "indices": [], "generation": 1, "status": "GREEN"}]}))
                .into_response()
        }
        ["_ilm", "policy", name] if asks => Json(named(name, json!({"version": 1, "policy": {"phases": {}}}))).into_response(),
        ["_ilm", "status"] if asks => Json(json!({"operation_mode": "RUNNING"})).into_response(),
        ["_ingest", "pipeline", name] if asks => Json(named(name, json!({"processors": []}))).into_response(),
        ["_template", name] if asks => Json(named(name, json!({"index_patterns": [], "order": 0}))).into_response(),
        ["_alias", name] | [_, "_alias", name] if asks => Json(named(name, json!({"aliases": {}}))).into_response(),
        ["_ingest", "pipeline"] | ["_template" | "_alias" | "_aliases"] | ["_ilm", "policy"] | ["_security", ..] if asks => {
            Json(json!({})).into_response()
        }
        [index] if asks && !index.starts_with('_') => Json(named(index, json!({"aliases": {}, "mappings": {}, "settings": {}}))).into_response(),
        [index, "_mapping" | "_mappings" | "_settings", ..] if asks => Json(named(index, json!({"mappings": {}}))).into_response(),
        [.., "_refresh" | "_flush"] => Json(json!({"_shards": {"total": 1, "successful": 1, "failed": 0}})).into_response(),
        ["_index_template" | "_component_template" | "_ilm" | "_ingest" | "_template" | "_data_stream" | "_alias" | "_aliases" | "_cluster", ..]
            if !asks =>
        {
            Json(json!({"acknowledged": true})).into_response()
        }
        [index] if method == Method::PUT && !index.starts_with('_') => {
            Json(json!({"acknowledged": true, "shards_acknowledged": true, "index": index})).into_response()
        }
        [index, "_mapping" | "_settings" | "_alias" | "_rollover", ..] if !asks && !index.starts_with('_') => {
            Json(json!({"acknowledged": true})).into_response()
        }
        _ => {
            let reason = format!(
                "watchfire takes documents here (`_bulk`, `_doc`, `_create`) and does not know `{method} /{}`; search at /api/v1/logs",
                segments.join("/")
            );
            answer::error(StatusCode::NOT_FOUND, "resource_not_found_exception", &reason)
        }
    }
}

fn named(name: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(name.to_owned(), value)]))
}

fn product() -> Value {
    json!({
        "name": "watchfire",
        "cluster_name": "watchfire",
        "cluster_uuid": "d2F0Y2hmaXJlLWxvZ3Mh",
        "version": {
            "number": VERSION,
            "build_flavor": "default",
            "build_type": "tar",
            "build_hash": "watchfire",
            "build_date": "2025-07-23T22:10:18.138215839Z",
            "build_snapshot": false,
            "lucene_version": "9.12.2",
            "minimum_wire_compatibility_version": "7.17.0",
            "minimum_index_compatibility_version": "7.0.0",
        },
        "tagline": "You Know, for Search",
    })
}

fn license() -> Value {
    json!({
        "status": "active", "uid": "watchfire", "type": "basic", "mode": "basic", "issue_date": "2025-01-01T00:00:00.000Z",
        "issue_date_in_millis": 1_735_689_600_000_i64, "max_nodes": 1000, "issued_to": "watchfire", "issuer": "elasticsearch",
        "start_date_in_millis": -1,
    })
}

fn health() -> Value {
    json!({
        "cluster_name": "watchfire", "status": "green", "timed_out": false, "number_of_nodes": 1, "number_of_data_nodes": 1,
        "active_primary_shards": 1, "active_shards": 1, "relocating_shards": 0, "initializing_shards": 0,
        "unassigned_shards": 0, "delayed_unassigned_shards": 0, "number_of_pending_tasks": 0, "number_of_in_flight_fetch": 0,
        "task_max_waiting_in_queue_millis": 0, "active_shards_percent_as_number": 100.0,
    })
}
