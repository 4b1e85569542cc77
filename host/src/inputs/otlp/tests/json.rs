//! What the specification says of OTLP in JSON, point by point.

use proptest::prelude::*;
use prost::Message as _;
use serde_json::{Value, json};
use watchfire_types::LogRecord;

use super::super::{DecodeError, json, metrics};

fn logs(request: &Value) -> Result<Vec<LogRecord>, DecodeError> {
    let batch = json::logs(request.to_string().as_bytes(), usize::MAX)?;
    Ok((0..batch.len()).map(|row| batch.record(row)).collect())
}

fn one(record: &Value) -> Result<LogRecord, DecodeError> {
    let mut records = logs(&json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}))?;
    Ok(records.remove(0))
}

fn refusal(record: &Value) -> String {
    one(record).unwrap_err().to_string()
}

#[test]
fn the_example_of_the_specification_is_read() {
    // opentelemetry-proto, examples/logs.json, shortened.
    let records = logs(&json!({"resourceLogs": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "my.service"}}]},
        "scopeLogs": [{
            "scope": {"name": "my.library", "version": "1.0.0"},
            "logRecords": [{
                "timeUnixNano": "1544712660300000000", "observedTimeUnixNano": "1544712660300000000",
                "severityNumber": 10, "severityText": "Information",
                "traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "EEE19B7EC3C1B174",
                "body": {"stringValue": "Example log record"},
                "attributes": [
                    {"key": "boolean.attribute", "value": {"boolValue": true}},
                    {"key": "int.attribute", "value": {"intValue": "10"}},
                    {"key": "double.attribute", "value": {"doubleValue": 637.704}},
                    {"key": "array.attribute", "value": {"arrayValue": {"values": [{"stringValue": "many"}, {"stringValue": "values"}]}}},
                    {"key": "map.attribute", "value": {"kvlistValue": {"values": [{"key": "some.map.key", "value": {"stringValue": "some value"}}]}}}
                ]
            }]
        }]
    }]}))
    .unwrap();
    let expected = json!({
        "timestamp": "2018-12-13T14:51:00.3Z", "observed_timestamp": "2018-12-13T14:51:00.3Z", "severity_number": 10,
        "severity_text": "Information", "body": "Example log record",
        "attributes": {
            "boolean.attribute": true, "int.attribute": 10, "double.attribute": 637.704,
            "array.attribute": ["many", "values"], "map.attribute": {"some.map.key": "some value"}
        },
        "resource": {"service.name": "my.service"}, "scope": "my.library",
        "trace_id": "5b8efff798038103d269b633813fc60c", "span_id": "eee19b7ec3c1b174"
    });
    assert_eq!(serde_json::to_value(&records[0]).unwrap(), expected);
}

#[test]
fn ids_are_hexadecimal_of_either_case_and_nothing_else() {
    let lower = one(&json!({"traceId": "5b8efff798038103d269b633813fc60c"})).unwrap();
    assert_eq!(lower, one(&json!({"traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": ""})).unwrap());
    let path = "resourceLogs[0].scopeLogs[0].logRecords[0].traceId: ";
    assert!(refusal(&json!({"traceId": "W47/95gDgQPSabYzgT/GDA=="})).starts_with(path));
    assert!(refusal(&json!({"traceId": "5b8e"})).contains("32 hexadecimal digits"));
}

#[test]
fn sixty_four_bit_integers_are_text_or_numbers() {
    for time in [json!("18446744073709551615"), json!(18_446_744_073_709_551_615_u64)] {
        assert_eq!(one(&json!({"timeUnixNano": time})).unwrap().timestamp.as_nanos(), u64::MAX);
    }
    for number in [json!("-9223372036854775808"), json!(-9_223_372_036_854_775_808_i64)] {
        assert_eq!(one(&json!({"body": {"intValue": number}})).unwrap().body, watchfire_types::Value::Int(i64::MIN));
    }
    for wrong in [json!(-1), json!("1.5"), json!(1.5), json!("x"), json!(true), json!([])] {
        assert!(refusal(&json!({"timeUnixNano": wrong})).contains("timeUnixNano: "), "{wrong}");
    }
}

#[test]
fn enums_are_integers_and_never_names() {
    assert_eq!(one(&json!({"severityNumber": 17})).unwrap().severity_number, 17);
    assert_eq!(one(&json!({"severityNumber": 99})).unwrap().severity_number, 0);
    assert!(refusal(&json!({"severityNumber": "SEVERITY_NUMBER_ERROR"})).contains("severityNumber: "));
}

#[test]
fn unknown_fields_are_ignored_and_snake_case_is_unknown() {
    let record = one(&json!({
        "severity_text": "ignored", "novelty": {"deep": [1, {"a": null}]},
        "body": {"novelty": {"x": 1}, "stringValue": "kept", "another": []},
        "attributes": [{"key": "k", "value": {"intValue": 1, "novelty": 2}, "novelty": 3}]
    }))
    .unwrap();
    assert_eq!((record.severity_text.as_str(), record.body.as_text()), ("", Some("kept")));
    assert_eq!(record.attributes, [("k".to_owned(), watchfire_types::Value::Int(1))]);
}

#[test]
fn null_is_the_default_everywhere() {
    let record = one(&json!({
        "timeUnixNano": null, "severityNumber": null, "severityText": null, "body": null, "attributes": null, "traceId": null, "flags": null
    }));
    assert_eq!(record.unwrap(), one(&json!({})).unwrap());
    assert!(logs(&json!({"resourceLogs": null})).unwrap().is_empty());
    assert!(logs(&json!({})).unwrap().is_empty());
    assert!(json::logs(b"", 0).unwrap().is_empty());
    assert_eq!(
        logs(&json!({"resourceLogs": [{"resource": null, "scopeLogs": [{"scope": null, "logRecords": [{}]}]}]})).unwrap().len(),
        1
    );
}

#[test]
fn bytes_are_base64_and_floats_may_be_words() {
    let body = |value: Value| one(&json!({"body": value})).unwrap().body;
    assert_eq!(body(json!({"bytesValue": "aGVsbG8="})), watchfire_types::Value::Bytes(b"hello".to_vec()));
    assert!(matches!(body(json!({"doubleValue": "NaN"})), watchfire_types::Value::Float(number) if number.is_nan()));
    assert_eq!(body(json!({"doubleValue": "-Infinity"})), watchfire_types::Value::Float(f64::NEG_INFINITY));
    assert_eq!(body(json!({"doubleValue": 3})), watchfire_types::Value::Float(3.0));
    assert!(refusal(&json!({"body": {"doubleValue": "inf"}})).contains("body.doubleValue"));
    assert!(refusal(&json!({"body": {"bytesValue": "!"}})).contains("body.bytesValue"));
}

#[test]
fn what_is_wrong_is_named_by_its_path() {
    let path = "resourceLogs[0].scopeLogs[0].logRecords[0].attributes[1].value.intValue: ";
    let message = refusal(&json!({"attributes": [{"key": "a"}, {"key": "b", "value": {"intValue": "ten"}}]}));
    assert!(message.starts_with(path), "{message}");
    assert!(json::logs(b"{\"resourceLogs\": [", usize::MAX).unwrap_err().to_string().contains("EOF"));
    assert!(json::logs(b"{} {}", usize::MAX).unwrap_err().to_string().contains("trailing"));
    assert!(json::logs(b"[]", usize::MAX).is_err());
}

#[test]
fn metrics_in_json_are_those_in_protobuf() {
    let request = json!({"resourceMetrics": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "api"}}]},
        "scopeMetrics": [{"metrics": [
            {"name": "g", "unit": "1", "gauge": {"dataPoints": [{"asDouble": 0.1, "timeUnixNano": "7"}, {"asInt": "3", "timeUnixNano": 8}]}},
            {"name": "s", "sum": {"aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [{"asInt": 3}]}},
            {"name": "h", "histogram": {"aggregationTemporality": 1, "dataPoints": [
                {"count": "3", "sum": 1.5, "bucketCounts": ["1", 2], "explicitBounds": [0.5], "attributes": [{"key": "a", "value": {"boolValue": true}}]}]}},
            {"name": "e", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [
                {"count": 3, "scale": 0, "zeroCount": 1, "positive": {"offset": 1, "bucketCounts": [2]}}]}},
            {"name": "q", "summary": {"dataPoints": [{"count": 2, "sum": 3, "quantileValues": [{"quantile": 0.5, "value": "NaN"}]}]}}
        ]}]
    }]});
    let decoded = json::metrics(request.to_string().as_bytes(), usize::MAX).unwrap();
    let text: Vec<String> = decoded.points.iter().map(|point| format!("{} {}", point.series, point.value)).collect();
    insta::assert_snapshot!(text.join("\n"), @r#"
    g{service="api"} 0.1
    g{service="api"} 3
    s{service="api"} 3
    h_bucket{a="true",le="0.5",service="api"} 1
    h_bucket{a="true",le="+Inf",service="api"} 3
    h_sum{a="true",service="api"} 1.5
    h_count{a="true",service="api"} 3
    e_bucket{le="0",service="api"} 1
    e_bucket{le="4",service="api"} 3
    e_bucket{le="+Inf",service="api"} 3
    e_count{service="api"} 3
    q{quantile="0.5",service="api"} NaN
    q_sum{service="api"} 3
    q_count{service="api"} 2
    "#);
}

proptest! {
    #[test]
    fn what_the_generated_code_writes_is_read_as_its_protobuf(request in super::logs::request()) {
        // The generated code cannot write what JSON cannot say, and writes ids of any length.
        let mut request = request;
        for record in request.resource_logs.iter_mut().flat_map(|logs| &mut logs.scope_logs).flat_map(|logs| &mut logs.log_records) {
            record.trace_id.resize(16, 1);
            record.span_id.resize(8, 1);
        }
        let text = serde_json::to_string(&request).unwrap();
        prop_assume!(!text.contains("null"));
        let own = json::logs(text.as_bytes(), usize::MAX).unwrap();
        let expected = super::super::logs_proto::decode(&request.encode_to_vec(), usize::MAX).unwrap();
        prop_assert!(super::super::reference::same(&own, &expected));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, text in "[{}\\[\\]\":,a-zA-Z0-9]{0,80}") {
        for bytes in [&bytes[..], text.as_bytes()] {
            let _ = json::logs(bytes, 1 << 20);
            let _ = json::metrics(bytes, 1 << 20);
            let _ = json::count_spans(bytes, 1 << 20);
            let _ = metrics::decode(bytes, 1 << 20);
        }
    }
}
