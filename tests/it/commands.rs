//! The command line against a running host.

use std::process::Stdio;

use serde_json::json;
use watchfire_tests::{Installation, Lines, Process, eventually};

/// Returns a host with three records.
async fn host_with_records() -> (Installation, Process) {
    let installation = Installation::new(json!({}));
    let host = installation.start().await;
    host.client()
        .ingest(&[
            json!({"level": "INFO", "service": "api", "message": "first, with a comma"}),
            json!({"level": "ERROR", "service": "api", "message": "second \"quoted\"", "user": "ann"}),
            json!({"level": "ERROR", "service": "worker", "message": "third"}),
        ])
        .await;
    (installation, host)
}

#[tokio::test]
async fn status_tells_people_and_programs_and_exits_by_what_it_finds() {
    let (installation, mut host) = host_with_records().await;
    let people = installation.run_against(&host, &["status"]).expect(0);
    assert!(people.stdout.contains("ok"), "{}", people.stdout);
    let programs = installation.run_against(&host, &["status", "--json"]).expect(0).json();
    assert_eq!(programs["pid"], host.pid());
    host.kill9();
    let gone = installation.run_against(&host, &["status"]).expect(1);
    assert!(gone.stderr.contains("error:") && gone.stderr.contains("hint:"), "{}", gone.stderr);
}

#[tokio::test]
async fn search_finds_what_the_api_finds() {
    let (installation, host) = host_with_records().await;
    let people = installation.run_against(&host, &["search", "third"]).expect(0);
    assert_eq!(people.stdout.lines().count(), 1, "{}", people.stdout);
    assert!(people.stdout.contains("third") && people.stdout.contains("worker"), "{}", people.stdout);
    let rows = installation.run_against(&host, &["search", "--level", "ERROR", "--limit", "10", "--json"]).expect(0).json_lines();
    assert_eq!(rows.len(), 2);
    let by_address = installation.run(&["search", "--url", host.client().url(), "--service", "api", "--json"]).expect(0);
    assert_eq!(by_address.json_lines().len(), 2);
}

#[tokio::test]
async fn an_export_writes_each_format_whole() {
    let (installation, host) = host_with_records().await;
    let export = |format: &str| {
        let file = format!("out.{format}");
        installation.run_against(&host, &["export", "--what", "logs", "--format", format, "--output", &file]).expect(0);
        std::fs::read_to_string(installation.path(&file)).expect("export wrote it")
    };
    let object: serde_json::Value = serde_json::from_str(&export("json")).expect("JSON");
    assert_eq!(object["logs"].as_array().map(Vec::len), Some(3), "{object}");
    assert_eq!(export("ndjson").lines().count(), 3);
    let table = export("csv");
    assert!(table.contains("\"first, with a comma\"") && table.contains("\"second \"\"quoted\"\"\""), "{table}");
}

#[tokio::test]
async fn ingest_reads_lines_of_any_kind_from_standard_input() {
    let (installation, host) = host_with_records().await;
    let url = [("WATCHFIRE_URL", host.client().url())];
    installation.run_with(&["ingest"], &url, "{\"message\": \"as json\", \"level\": \"WARN\"}\nplain text line\n").expect(0);
    let records = host.client().records_until(5, &[]).await;
    assert_eq!(records[0].body.as_text(), Some("plain text line"));
    assert_eq!((records[1].body.as_text(), records[1].severity_number), (Some("as json"), 13));
}

#[tokio::test]
async fn tail_prints_new_records_as_they_come() {
    let (installation, host) = host_with_records().await;
    let mut command = installation.command(&["tail", "--level", "ERROR", "--json"]);
    let mut child = command.env("WATCHFIRE_URL", host.client().url()).stdout(Stdio::piped()).spawn().expect("the binary runs");
    let lines = Lines::read(child.stdout.take().expect("it is piped"));
    // Nothing says when the stream is open, so records go on coming until one is seen.
    let seen = eventually("a line of the tail", async || {
        host.client().ingest(&[json!({"level": "INFO", "message": "quiet"}), json!({"level": "ERROR", "message": "loud"})]).await;
        lines.all().into_iter().find(|line| line.contains("loud"))
    })
    .await;
    child.kill().expect("our own child can be killed");
    child.wait().expect("our own child can be waited for");
    let record: serde_json::Value = serde_json::from_str(&seen).expect("--json prints JSON");
    assert_eq!(record["severity_number"], 17);
    assert!(!lines.all().iter().any(|line| line.contains("quiet")));
}

#[tokio::test]
async fn test_tries_every_receiver_and_says_which_failed() {
    let receiver = watchfire_tests::WebhookReceiver::start();
    let installation = Installation::new(json!({"alerting": {"receivers": [
        {"name": "good", "webhook": {"url": receiver.url()}},
        {"name": "broken", "webhook": {"url": "http://127.0.0.1:9/"}},
    ]}}));
    let host = installation.start().await;
    let one = installation.run_against(&host, &["test", "channel", "good"]).expect(0);
    assert_eq!(receiver.wait_for(1).await.len(), 1, "{one:?}");
    let all = installation.run_against(&host, &["test"]).expect(1);
    let said = format!("{}{}", all.stdout, all.stderr);
    assert!(said.contains("good") && said.contains("broken"), "{said}");
}

#[tokio::test]
async fn metrics_rules_and_alerts_are_listed_one_object_a_line() {
    let (installation, host) = host_with_records().await;
    host.client().post_json("/api/v1/rules", &watchfire_tests::error_burst_rule(1)).await.ok();
    for command in ["metrics", "rules", "alerts"] {
        installation.run_against(&host, &[command]).expect(0);
    }
    let rules = installation.run_against(&host, &["rules", "--json"]).expect(0).json_lines();
    assert_eq!(rules[0]["name"], "error burst", "{rules:?}");
    installation.run_against(&host, &["metrics", "--json"]).expect(0).json_lines();
    installation.run_against(&host, &["alerts", "--json"]).expect(0).json_lines();
}

#[test]
fn a_command_asked_wrongly_exits_with_two() {
    let installation = Installation::new(json!({}));
    installation.run(&["serach", "x"]).expect(2);
    installation.run(&["search", "--limit", "many"]).expect(2);
    installation.run(&["export", "--format", "xml"]).expect(2);
}
