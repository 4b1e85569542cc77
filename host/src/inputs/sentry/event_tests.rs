use proptest::prelude::*;
use watchfire_types::LogRecord;

use super::*;

const NOW: Timestamp = Timestamp::from_seconds(1_795_392_600);

fn source() -> Source {
    let data = tempfile::tempdir().unwrap();
    Source { project: 7, service: None, now: NOW, drift: 0, key: DsnKey::open(data.path()).unwrap(), redacts: true }
}

fn record(event: &JsonValue) -> (LogRecord, JsonValue) {
    let mut builder = BatchBuilder::new(1 << 30);
    push(&mut builder, event.to_string().as_bytes(), "", &source()).unwrap().unwrap();
    let batch = builder.finish();
    let stored = batch.find_attribute(0, keys::SENTRY_EVENT).unwrap().to_json();
    (batch.record(0), stored)
}

fn attribute(record: &LogRecord, key: &str) -> String {
    let find =
        |list: &watchfire_types::Attributes| list.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_ref().display());
    find(&record.attributes).or_else(|| find(&record.resource)).unwrap_or_default()
}

#[test]
fn an_exception_becomes_a_record_with_its_essentials() {
    let (record, stored) = record(&json!({
        "event_id": "9EC79C33-ec99-42ab-8353-589fcb2e04dc", "timestamp": 1_795_392_000.5, "level": "fatal", "platform": "python",
        "release": "shop@1.2.0", "environment": "live", "server_name": "web1", "logger": "shop.orders",
        "exception": {"values": [{"type": "KeyError", "value": "'a'"}, {"type": "ValueError", "value": "bad order"}]},
        "contexts": {"trace": {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331"}},
        "tags": [["route", "/pay"], ["n", 5]], "user": {"id": 17, "ip_address": "{{auto}}"}, "modules": {"a": "1"}
    }));
    assert_eq!(
        (record.body.as_text(), record.severity_number, record.scope.as_str()),
        (Some("ValueError: bad order"), 21, "shop.orders")
    );
    assert_eq!(record.timestamp, Timestamp::from_nanos(1_795_392_000_500_000_000));
    assert_eq!((record.trace_id.as_str(), record.span_id.as_str()), ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"));
    for (key, value) in [
        ("service.name", "shop"),
        ("service.version", "shop@1.2.0"),
        ("deployment.environment.name", "live"),
        ("host.name", "web1"),
        ("exception.type", "ValueError"),
        ("exception.message", "bad order"),
        ("sentry.event_id", "9ec79c33ec9942ab8353589fcb2e04dc"),
    ] {
        assert_eq!(attribute(&record, key), value, "{key}");
    }
    assert_eq!(attribute(&record, "user.hash").len(), 16);
    assert_eq!(stored["tags"], json!({"route": "/pay", "n": "5"}));
    assert_eq!((&stored["modules"], &stored["user"]), (&JsonValue::Null, &json!({"id": 17})));
}

#[test]
fn a_message_and_a_stack_trace_without_an_exception_are_events_too() {
    let (message, _) =
        record(&json!({"logentry": {"message": "order %s", "formatted": "order 5", "params": [5]}, "level": "warning"}));
    assert_eq!(
        (message.body.as_text(), message.severity_number, attribute(&message, "service.name").as_str()),
        (Some("order 5"), 13, "project-7")
    );
    let (old, _) = record(&json!({"sentry.interfaces.Message": {"message": "old"}, "tags": {"service": "legacy"}}));
    assert_eq!((old.body.as_text(), old.severity_number, attribute(&old, "service.name").as_str()), (Some("old"), 9, "legacy"));
    let frames = json!({"frames": [{"function": "f"}]});
    let (_, stored) = record(&json!({"message": "m", "threads": {"values": [{"id": 1, "stacktrace": frames}]}}));
    assert_eq!(stored["exception"]["values"][0]["stacktrace"]["frames"][0]["function"], "f");
    let (made_up, _) = record(&json!({"exception": [{"type": "Error", "value": "v", "mechanism": {"synthetic": true}}]}));
    assert_eq!((attribute(&made_up, "exception.type").as_str(), made_up.body.as_text()), ("", Some("v")));
    let (empty, _) = record(&json!({}));
    assert_eq!(empty.body.as_text(), Some("(an event without a message)"));
}

#[test]
fn a_clock_that_is_wrong_or_drifts_is_set_right() {
    let mut source = source();
    assert_eq!(source.time(Some(&json!("2001-01-01T00:00:00Z"))), NOW);
    assert_eq!(source.time(Some(&json!(9_999_999_999_u64))), NOW);
    assert_eq!(source.time(Some(&json!("2026-11-22T08:30:00"))), Timestamp::from_seconds(1_795_336_200));
    source.drift = -5_000_000_000;
    assert_eq!(source.time(Some(&json!(1_795_392_000))), Timestamp::from_seconds(1_795_391_995));
}

#[test]
fn an_event_of_any_size_is_stored_bounded() {
    let frame = json!({"function": "f", "filename": "x".repeat(20_000), "vars": {"a": "y".repeat(20_000)}});
    let exception = json!({"type": "E", "value": "v".repeat(100_000), "stacktrace": {"frames": vec![frame; 300]}});
    let (record, stored) = record(&json!({"exception": {"values": vec![exception; 2]}, "extra": {"big": "z".repeat(100_000)}}));
    assert!(attribute(&record, "sentry.event").len() <= MAX_EVENT_BYTES, "{}", attribute(&record, "sentry.event").len());
    assert_eq!(stored["exception"]["values"][0]["type"], "E");
}

proptest! {
    #[test]
    fn no_json_makes_it_panic(text in "[\\[\\]{}\",:a-z0-9 ]{0,80}", key in "exception|breadcrumbs|tags|fingerprint|user|threads|stacktrace|logentry|timestamp|contexts") {
        let mut builder = BatchBuilder::new(1 << 30);
        let _ = push(&mut builder, text.as_bytes(), "", &source());
        if let Ok(value) = serde_json::from_str::<JsonValue>(&text) {
            let event = json!({ key: value });
            let _ = push(&mut builder, event.to_string().as_bytes(), "x", &source());
        }
    }
}
