//! What Elasticsearch's clients send is stored, and each document is answered for.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use watchfire_tasks::debian;
use watchfire_tests::senders::Daemon;
use watchfire_tests::{TestHost, run_node, run_python};
use watchfire_types::LogRecord;

#[tokio::test]
async fn documents_of_both_python_clients_are_stored_and_the_others_are_refused_one_by_one() {
    let host = TestHost::start();
    let url = format!("{}/elasticsearch", host.client().url());
    for client in ["7", "8"] {
        let service = format!("shop-{client}");
        let told = run_python("elastic_bulk.py", &["--url", &url, "--client", client, "--service", &service, "--count", "100"]);
        let told: Value = serde_json::from_str(&told).expect("the client prints JSON");
        assert_eq!(
            (&told["version"], &told["successful"], &told["single"]),
            (&json!("8.19.0"), &json!(100), &json!("created")),
            "{told}"
        );
        assert_eq!((&told["alive"], &told["health"]), (&json!(true), &json!("green")));
        let errors = told["errors"].as_array().expect("a list");
        let error = |at: usize| {
            (errors[at]["action"].as_str(), errors[at]["status"].as_u64(), errors[at]["reason"].as_str().unwrap_or_default())
        };
        assert_eq!(error(0), (Some("create"), Some(400), "the record is older than the retention of logs"));
        assert!(matches!(error(1), (Some("delete"), Some(400), reason) if reason.contains("does not change")), "{told}");
        let records = host.client().records_until(101, &[("service", &service), ("limit", "200")]).await;
        assert_eq!(records.iter().filter(|record| record.severity_number == 17).count(), 50);
        let order = records.iter().find(|record| record.body.as_text() == Some("order 7 – 日本語")).expect("it is stored");
        assert!(order.attributes.contains(&("order.id".to_owned(), 7.into())), "{order:?}");
        assert!(order.resource.contains(&("elasticsearch.index".to_owned(), "shop-2026.11.24".into())), "{order:?}");
    }
}

#[tokio::test]
async fn documents_of_the_node_client_are_stored() {
    let host = TestHost::start();
    let Some(told) = run_node("elastic.mjs", &[&format!("{}/elasticsearch", host.client().url()), "200"]) else { return };
    let told: Value = serde_json::from_str(&told).expect("the client prints JSON");
    assert_eq!((&told["successful"], &told["failed"]), (&json!(200), &json!(1)), "{told}");
    assert_eq!(
        told["dropped"],
        json!([{"status": 400, "reason": "the record is older than the retention of logs", "message": "too old"}])
    );
    let records = host.client().records_until(200, &[("service", "node-shop"), ("limit", "500")]).await;
    assert!(records.iter().all(|record| record.severity_number == 13));
}

#[tokio::test]
async fn a_client_at_the_root_is_told_where_to_send() {
    let host = TestHost::start();
    let answer = host.client().post("/shop/_bulk", "application/x-ndjson", "{\"index\":{}}\n{}\n").await;
    assert_eq!(answer.status, 404);
    assert!(answer.body.contains("/elasticsearch"), "{}", answer.body);
}

/// Waits for the lines that a daemon was given; each of its documents names it as the service.
async fn arrived(host: &TestHost, service: &str, index: &str) -> Vec<LogRecord> {
    let records = host.client().records_until(100, &[("service", service), ("limit", "200")]).await;
    let bodies: BTreeSet<_> =
        records.iter().filter_map(|record| record.body.as_text()).map(|text| text.trim().to_owned()).collect();
    assert_eq!(bodies, lines().collect::<BTreeSet<_>>());
    assert!(records.iter().all(|record| record.resource.contains(&("elasticsearch.index".to_owned(), index.into()))));
    records
}

fn lines() -> impl Iterator<Item = String> {
    (0..100).map(|number| format!("line {number}: \"quoted\" [and] café"))
}

#[tokio::test]
async fn documents_of_rsyslog_are_stored() {
    let host = TestHost::start();
    let Some(program) = debian::program("rsyslogd") else { return };
    let modules = program.folder("usr/lib/ARCH/rsyslog").expect("rsyslog has modules");
    let action = format!(
        "module(load=\"{}/omelasticsearch\")\naction(type=\"omelasticsearch\" server=\"{}/elasticsearch\" \
         searchIndex=\"syslog\" bulkmode=\"on\" action.resumeRetryCount=\"-1\" action.resumeInterval=\"1\")",
        modules.display(),
        host.client().url(),
    );
    let daemon = Daemon::rsyslog(&program, "", &action);
    daemon.write(lines());
    // Its own template names no program: the index stands in.
    let records = arrived(&host, "syslog", "syslog").await;
    assert!(records.iter().all(|record| (record.severity_number, &*record.severity_text) == (13, "warning")), "{:?}", records[0]);
}

#[tokio::test]
async fn documents_of_syslog_ng_are_stored() {
    let host = TestHost::start();
    let Some(program) = debian::program("syslog-ng") else { return };
    // What its `elasticsearch-http()` is made of.
    let destination = format!(
        "http(url(\"{}/elasticsearch/_bulk\") method(\"POST\") batch-lines(40) batch-timeout(200) \
         headers(\"Content-Type: application/x-ndjson\") body-suffix(\"\\n\") \
         body(\"$(format-json --scope none --omit-empty-values index._index=logs-${{YEAR}})\\n\
         $(format-json --scope rfc5424 --exclude DATE --key ISODATE @timestamp=${{ISODATE}})\"));",
        host.client().url(),
    );
    let daemon = Daemon::syslog_ng(&program, "file(FILE flags(no-parse) program-override(\"shop\"));", &destination);
    daemon.write(lines());
    arrived(&host, "shop", &format!("logs-{}", year_of(&host))).await;
}

/// Returns the present year.
fn year_of(host: &TestHost) -> String {
    host.clock().now().to_string()[..4].to_owned()
}
