use std::time::Duration;

use super::*;
use crate::config::Config;
use crate::telemetry::SelfMetrics;

/// Runs `work` under a subscriber that writes to a file, and returns what it wrote and what it forwarded.
fn logged(logging: &Logging, work: impl FnOnce()) -> (String, Vec<OwnRecord>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.log");
    let (forward, mut queue) = channel(&SelfMetrics::default());
    let clock = Clock::manual(Timestamp::from_millis(1_795_391_047_123));
    let layer = OwnLog::new(logging, LogTarget::File(path.clone()), Some(forward), clock).unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
    let mut records = Vec::new();
    while let Ok(record) = queue.receiver.try_recv() {
        records.push(record);
    }
    (std::fs::read_to_string(path).unwrap(), records)
}

fn logging(format: LogFormat) -> Logging {
    Logging { format, ..Config::default().logging }
}

fn some_events() {
    let error = io::Error::other("no space\nleft");
    let span = tracing::info_span!("request", path = "/v1/logs", count = 1);
    let _entered = span.enter();
    tracing::info!(target: "watchfire::app", count = 3, ratio = 0.5, ok = true, "listening on 127.0.0.1:3473");
    tracing::error!(target: "watchfire::store", error = &error as &dyn std::error::Error, "cannot \"store\"");
    tracing::debug!(target: "watchfire::app", "not at this level");
    tracing::info!(target: "hyper::client", "not of a library");
    tracing::warn!(target: "hyper::client", "what is wrong with a library is written");
}

#[test]
fn text_is_for_people() {
    insta::assert_snapshot!(logged(&logging(LogFormat::Text), some_events).0, @r#"
    2026-11-22T23:44:07.123Z INFO  app: listening on 127.0.0.1:3473 count=3 ratio=0.5 ok=true path=/v1/logs
    2026-11-22T23:44:07.123Z ERROR store: cannot "store" error="no space\nleft" path=/v1/logs count=1
    2026-11-22T23:44:07.123Z WARN  hyper::client: what is wrong with a library is written path=/v1/logs count=1
    "#);
}

#[test]
fn logfmt_is_key_and_value() {
    insta::assert_snapshot!(logged(&logging(LogFormat::Logfmt), some_events).0, @r#"
    time=2026-11-22T23:44:07.123Z level=info target=watchfire::app msg="listening on 127.0.0.1:3473" count=3 ratio=0.5 ok=true path=/v1/logs
    time=2026-11-22T23:44:07.123Z level=error target=watchfire::store msg="cannot \"store\"" error="no space\nleft" path=/v1/logs count=1
    time=2026-11-22T23:44:07.123Z level=warn target=hyper::client msg="what is wrong with a library is written" path=/v1/logs count=1
    "#);
}

#[test]
fn json_lines_have_the_names_of_a_log_record() {
    let text = logged(&logging(LogFormat::Json), some_events).0;
    insta::assert_snapshot!(text, @r#"
    {"timestamp":"2026-11-22T23:44:07.123Z","observed_timestamp":"2026-11-22T23:44:07.123Z","severity_number":9,"severity_text":"INFO","scope":"watchfire::app","body":"listening on 127.0.0.1:3473","attributes":{"count":3,"ratio":0.5,"ok":true,"path":"/v1/logs"},"resource":{"service.name":"watchfire"}}
    {"timestamp":"2026-11-22T23:44:07.123Z","observed_timestamp":"2026-11-22T23:44:07.123Z","severity_number":17,"severity_text":"ERROR","scope":"watchfire::store","body":"cannot \"store\"","attributes":{"error":"no space\nleft","path":"/v1/logs","count":1},"resource":{"service.name":"watchfire"}}
    {"timestamp":"2026-11-22T23:44:07.123Z","observed_timestamp":"2026-11-22T23:44:07.123Z","severity_number":13,"severity_text":"WARN","scope":"hyper::client","body":"what is wrong with a library is written","attributes":{"path":"/v1/logs","count":1},"resource":{"service.name":"watchfire"}}
    "#);
    for line in text.lines() {
        let record: watchfire_types::LogRecord = serde_json::from_str(line).unwrap();
        assert!(!record.scope.is_empty());
    }
}

#[test]
fn only_our_own_events_are_forwarded_with_typed_fields() {
    let records = logged(&logging(LogFormat::Text), some_events).1;
    assert_eq!(records.len(), 2);
    assert_eq!(records[0].attributes[0], ("count".to_owned(), Value::Int(3)), "the innermost of one name stays");
    assert_eq!(records[0].attributes.len(), 4);
    assert_eq!((records[1].severity, records[1].target.as_str()), (Severity::ERROR, "watchfire::store"));
}

#[test]
fn what_storing_says_is_not_stored() {
    let (text, records) = logged(&logging(LogFormat::Text), || {
        tracing::info!(target: "watchfire::logs::writer", "committed");
        forward::FORWARDING.sync_scope((), || tracing::error!(target: "watchfire::logs", "cannot commit"));
        std::thread::scope(|scope| {
            let dispatch = tracing::dispatcher::get_default(Clone::clone);
            scope.spawn(move || {
                mute_this_thread();
                tracing::dispatcher::with_default(&dispatch, || tracing::error!(target: "watchfire::store", "muted"));
            });
        });
    });
    assert_eq!((text.lines().count(), records.len()), (3, 0));
}

#[test]
fn causes_are_left_out_when_asked() {
    #[derive(Debug, thiserror::Error)]
    #[error("cannot start")]
    struct Outer(#[source] io::Error);
    let event = || {
        let error = Outer(io::Error::other("port is busy"));
        tracing::error!(target: "watchfire", error = &error as &dyn std::error::Error, "failed");
    };
    let with = logged(&logging(LogFormat::Logfmt), event).0;
    let without = logged(&Logging { include_stack_trace: false, ..logging(LogFormat::Logfmt) }, event).0;
    assert!(
        with.contains(r#"error="cannot start: port is busy""#) && without.contains(r#"error="cannot start""#),
        "{with}{without}"
    );
}

#[tokio::test]
async fn forwarded_records_become_batches_of_our_service() {
    let (forward, mut queue) = channel(&SelfMetrics::default());
    for index in 0..700_i64 {
        forward.send(OwnRecord {
            timestamp: Timestamp::from_seconds(1),
            severity: Severity::WARN,
            target: "watchfire::app".into(),
            message: "something".into(),
            attributes: vec![("index".into(), Value::Int(index))],
        });
    }
    let shutdown = tokio_util::sync::CancellationToken::new();
    shutdown.cancel();
    let batches = Mutex::new(Vec::new());
    forward::run(&mut queue, shutdown, |batch| {
        batches.lock().push(batch);
        async { Ok(()) }
    })
    .await;
    let batches = batches.into_inner();
    assert_eq!(batches.iter().map(watchfire_types::LogBatch::len).collect::<Vec<_>>(), [500, 200]);
    let record = batches[1].record(0);
    assert_eq!((record.scope.as_str(), record.severity_text.as_str()), ("watchfire::app", "WARN"));
    assert_eq!(record.attributes, [("index".to_owned(), Value::Int(500))]);
    assert_eq!(batches[1].service(0), "watchfire");
}

#[tokio::test]
async fn a_busy_store_is_asked_again_and_given_up_counted() {
    let metrics = SelfMetrics::default();
    let (forward, mut queue) = channel(&metrics);
    forward.send(OwnRecord {
        timestamp: Timestamp::ZERO,
        severity: Severity::INFO,
        target: "watchfire".into(),
        message: String::new(),
        attributes: Vec::new(),
    });
    drop(forward);
    let tries = Mutex::new(0);
    forward::run(&mut queue, tokio_util::sync::CancellationToken::new(), |_| {
        *tries.lock() += 1;
        async { Err(crate::store::IngestError::Busy { reason: "full".into(), retry_after: Duration::from_millis(1) }) }
    })
    .await;
    assert_eq!(tries.into_inner(), 3);
    assert_eq!(metrics.counter("watchfire_own_log_dropped_total", &[]).get(), 1);
}
