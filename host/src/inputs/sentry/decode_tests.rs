use std::io::Write as _;

use base64::Engine as _;
use proptest::prelude::*;

use super::*;

fn key() -> DsnKey {
    DsnKey::open(tempfile::tempdir().unwrap().path()).unwrap()
}

fn read(form: Form, bytes: &[u8]) -> Result<Decoded, Refused> {
    let source = Source {
        project: 1,
        service: Some("shop".into()),
        now: Timestamp::from_seconds(1_795_392_600),
        drift: 0,
        key: key(),
        redacts: true,
    };
    decode(form, bytes, source, 64 << 20)
}

fn bodies(decoded: &Decoded) -> Vec<String> {
    (0..decoded.batch.len()).map(|row| decoded.batch.body.get(row).display()).collect()
}

#[test]
fn every_item_is_used_or_counted_and_none_is_an_error() {
    let item = |header: &str, payload: &str| format!("{{\"type\":\"{header}\",\"length\":{}}}\n{payload}\n", payload.len());
    let envelope = [
        "{\"event_id\":\"9ec79c33ec9942ab8353589fcb2e04dc\",\"dsn\":\"https://abc@localhost/1\"}\n".to_owned(),
        item("event", r#"{"message":"it failed","level":"error"}"#),
        item("log", r#"{"items":[{"timestamp":1795392000.5,"level":"warn","body":"slow","severity_number":13,"trace_id":"0af7651916cd43dd8448eb211c80319c","attributes":{"ms":{"value":12,"type":"integer"},"sentry.release":{"value":"a@1","type":"string"}}}]}"#),
        item("check_in", r#"{"check_in_id":"83a7c03ed0a04e1b97e2e3b18d38f244","monitor_slug":"nightly","status":"error","duration":1.5}"#),
        item("session", r#"{"sid":"1","init":true,"status":"crashed","errors":1,"attrs":{"release":"shop@1"}}"#),
        item("sessions", r#"{"aggregates":[{"started":"2026-11-22T08:00:00Z","exited":40,"errored":2}],"attrs":{"release":"shop@1"}}"#),
        item("client_report", r#"{"discarded_events":[{"reason":"queue_overflow","category":"error","quantity":7},{"reason":"odd","category":"odd","quantity":1}]}"#),
        item("user_report", r#"{"event_id":"9ec79c33ec9942ab8353589fcb2e04dc","name":"Ann","comments":"it broke"}"#),
        item("feedback", r#"{"contexts":{"feedback":{"message":"the button","name":"Bob"}}}"#),
        item("attachment", "log of the job"),
        item("transaction", "{}"),
        item("never heard of", "x"),
        item("check_in", "broken"),
    ]
    .concat();
    let decoded = read(Form::Envelope, envelope.as_bytes()).unwrap();
    assert_eq!(
        bodies(&decoded),
        ["it failed", "slow", "check-in of monitor nightly: error", "Ann said: it broke", "Bob said: the button"]
    );
    assert_eq!(
        (decoded.id.as_str(), decoded.key.as_deref(), decoded.refused),
        ("9ec79c33ec9942ab8353589fcb2e04dc", Some("abc"), 1)
    );
    let kinds: Vec<_> = decoded.kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    assert_eq!(
        kinds.join(", "),
        "attachment 1, check_in 2, client_report 1, event 1, feedback 1, log 1, other 1, session 1, sessions 1, transaction 1, user_report 1"
    );
    assert_eq!(decoded.losses, [("queue_overflow", "error", 7), ("other", "other", 1)]);
    let points: Vec<_> = decoded.points.iter().map(|point| format!("{} {}", point.series, point.value)).collect();
    assert_eq!(points[0], r#"sentry.sessions{release="shop@1",service="shop",status="crashed"} 1"#);
    assert_eq!(points.len(), 3);
    let log = decoded.batch.record(1);
    assert_eq!((log.severity_number, log.attributes.len(), log.trace_id.len()), (13, 1, 32));
    let event = decoded.batch.find_attribute(0, "sentry.event").unwrap().to_json();
    assert_eq!(event["attachments"][0]["text"], "log of the job");
}

#[test]
fn an_event_alone_may_be_packed_as_it_was_long_ago() {
    let plain = read(Form::Event, br#"{"message": "old", "event_id": "9ec79c33ec9942ab8353589fcb2e04dc"}"#).unwrap();
    assert_eq!((plain.id.as_str(), bodies(&plain)), ("9ec79c33ec9942ab8353589fcb2e04dc", vec!["old".to_owned()]));
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(br#"{"message": "older"}"#).unwrap();
    let packed = base64::engine::general_purpose::STANDARD.encode(zlib.finish().unwrap());
    assert_eq!(bodies(&read(Form::Event, packed.as_bytes()).unwrap()), ["older"]);
    assert!(read(Form::Event, b"[]").is_err());
    assert!(read(Form::Event, b"").is_err());
}

#[test]
fn what_a_browser_reports_is_an_error_by_directive_and_host() {
    let old = read(Form::Report, br#"{"csp-report": {"document-uri": "https://shop.example/", "violated-directive": "img-src https:", "blocked-uri": "https://evil.example/a.png"}}"#).unwrap();
    assert_eq!(bodies(&old), ["blocked by `img-src`: evil.example"]);
    let new = read(Form::Report, br#"[{"type": "csp-violation", "url": "https://shop.example/", "body": {"effectiveDirective": "script-src", "blockedURL": "inline"}}, 5]"#).unwrap();
    assert_eq!((bodies(&new), new.refused), (vec!["blocked by `script-src`: inline".to_owned()], 1));
    assert!(read(Form::Report, b"{}").is_err());
}

#[test]
fn a_dump_is_noted_with_the_event_beside_it() {
    let form = b"--x\r\nContent-Disposition: form-data; name=\"sentry\"\r\n\r\n{\"release\": \"game@1\"}\r\n--x\r\nContent-Disposition: form-data; name=\"upload_file_minidump\"\r\n\r\nMDMP\r\n--x--";
    let decoded = read(Form::Dump, form).unwrap();
    let record = decoded.batch.record(0);
    assert_eq!(
        (record.severity_number, decoded.batch.find_attribute(0, "exception.type").unwrap().display().as_str()),
        (21, "Minidump")
    );
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in "event|log|check_in|session|sessions|client_report|feedback|user_report|attachment", json in "[\\[\\]{}\",:a-z0-9 ]{0,60}") {
        for form in [Form::Envelope, Form::Event, Form::Report, Form::Dump] {
            let _ = read(form, &bytes);
            let _ = read(form, json.as_bytes());
        }
        let envelope = format!("{{}}\n{{\"type\":\"{kind}\"}}\n{json}");
        prop_assert!(read(Form::Envelope, envelope.as_bytes()).is_ok());
    }
}
