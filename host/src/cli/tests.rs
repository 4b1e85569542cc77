use std::convert::Infallible;

use axum::extract::{Path, RawQuery};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;

use super::*;
use crate::http::ApiError;

/// Serves `router` on loopback in a thread of its own and returns its address.
fn serve(router: Router) -> String {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(format!("http://{}", listener.local_addr().unwrap())).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
    });
    receiver.recv().unwrap()
}

/// Runs `watchfire ARGS --url URL` and returns what it printed and how it ended.
fn ask_host(url: &str, args: &[&str]) -> (String, Exit) {
    run_here(&[args, &["--url", url]].concat())
}

fn run_here(args: &[&str]) -> (String, Exit) {
    let mut out = Vec::new();
    let exit = execute([&["watchfire"], args].concat(), &mut Output::new(&mut out));
    (String::from_utf8(out).unwrap(), exit)
}

fn host() -> Router {
    let status = |state: &'static str| {
        json!({"version": "0.1.0", "pid": 7, "uptime_seconds": 3725, "data_dir": "/data", "state": state, "memory_bytes": 52_428_800,
            "parts": [{"name": "logs", "state": state, "detail": "1 day", "hint": "free some disk"}], "warnings": ["a placeholder"],
            "logs": {"records": 12345, "last_seq": "12345", "bytes": 1_200_000}, "metrics": {"series": 40, "bytes": 900}})
    };
    let health = json!({"status": "healthy", "cpu_percent": 3.08642, "memory_percent": 40.0, "disk_usage_percent": 55.5, "process_count": 120, "alerts_firing": 0, "reasons": []});
    let rule = json!({"name": "CPU使用率过高", "metric": "system.cpu_percent", "comparison": ">", "threshold": 80.0, "aggregate": "avg", "window": "5m",
        "for": "2m", "level": "WARNING", "origin": "file", "state": "inactive"});
    let log_rule = json!({"name": "burst", "logs": {"level": "ERROR", "service": "api"}, "group_by": ["service.name"], "comparison": ">=",
        "threshold": 10.0, "window": "5m", "for": "0s", "level": "ERROR", "receiver": "pager", "origin": "api", "state": "firing", "alerts": 1});
    let alert = json!({"fingerprint": "ab12", "rule": "burst", "state": "firing", "level": "ERROR", "value": 12.0, "labels": {"service.name": "api"}, "since": "2025-01-02T03:04:05Z"});
    Router::new()
        .route("/api/v1/status", get(move || async move { Json(status("ok")) }))
        .route("/degraded/api/v1/status", get(move || async move { Json(status("degraded")) }))
        .route("/api/v1/health", get(move || async move { Json(health) }))
        .route("/api/v1/logs/query", get(|RawQuery(query): RawQuery| async move {
            let query = query.unwrap_or_default();
            let query = query.split("&zone=").next().unwrap_or_default().to_owned();
            if query.contains("since=yesterday") {
                return ApiError::bad_request("since: `yesterday` is not a time").into_response();
            }
            let end = json!({"end": {"truncated": query.contains("limit=1"), "records_read": 9, "blocks_read": 1, "elapsed_ms": 1.5}});
            if query.contains("stats") {
                return format!("{}\n{}\n{}\n{end}\n", json!({"columns": ["level", "count"]}), json!({"row": ["ERROR", 12]}), json!({"row": [null, 3]})).into_response();
            }
            let record = json!({"record": {"seq": "2", "timestamp": "2026-11-22T08:30:00Z", "severity_number": 17, "body": query, "resource": {"service.name": "api"}}});
            format!("{record}\n{end}\n").into_response()
        }))
        .route("/api/v1/logs/context", get(|| async {
            let record = |seq: u64| json!({"seq": seq.to_string(), "timestamp": "2026-11-22T08:30:00Z", "severity_number": 9, "body": format!("line {seq}")});
            Json(json!({"records": [record(1), record(2), record(3)], "at": 1}))
        }))
        .route("/api/v1/logs/complete", get(|| async { Json(json!({"from": 2, "items": [{"text": "service", "kind": "field"}]})) }))
        .route("/api/v1/logs", get(|| async {
            Json(json!({"records": [{"seq": "2", "timestamp": "2026-11-22T08:30:00Z", "severity_number": 17, "body": "x"}], "truncated": false}))
        }).post(|RawQuery(query): RawQuery, body: String| async move {
            Json(json!({"accepted": body.lines().count(), "rejected": 0, "errors": [], "query": query}))
        }))
        .route("/api/v1/rules", get(move || async move { Json(json!({"rules": [rule, log_rule]})) }))
        .route("/api/v1/alerts", get(move || async move { Json(json!({"alerts": [alert]})) }))
        .route("/api/v1/alerts/{fingerprint}", get(|Path(fingerprint): Path<String>| async move {
            let notification = json!({"id": "n1", "state": "delivered", "receiver": "pager", "attempts": 1, "last_error": null, "next_attempt_at": null,
                "notification": {"alerts": [{}], "created_at": "2025-01-02T03:04:15Z"},
                "receipts": [{"at": "2025-01-02T03:04:16Z", "attempt": 1, "outcome": "delivered", "detail": "HTTP 200"}]});
            Json(json!({"alert": {"fingerprint": fingerprint, "rule": "burst", "state": "firing", "labels": {"a": "b"}, "since": "2025-01-02T03:04:05Z"},
                "history": [{"at": "2025-01-02T03:04:05Z", "state": "firing", "value": 12.0, "reason": "12 >= 10"}],
                "decisions": [{"at": "2025-01-02T03:04:15Z", "decision": "notify", "reason": "new", "until": null, "outbox_id": "n1"}], "notifications": [notification]}))
        }))
        .route("/api/v1/findings", get(|RawQuery(query): RawQuery| async move {
            let query = query.unwrap_or_default();
            Json(json!({"findings": [{"position": "7", "plugin": "ssh", "rule": "brute_force", "severity_number": 17, "title": query, "count": 12,
                "findings": 2, "last_at": "2025-01-02T03:04:05Z", "labels": {"ip": "10.0.0.1"}}]}))
        }))
        .route("/api/v1/outbox", get(|| async { Json(json!({"notifications": [{"id": "1", "state": "dead", "receiver": "pager", "attempts": 3, "last_error": "500"}]})) }))
        .route("/api/v1/receivers", get(|| async { Json(json!({"receivers": [{"name": "pager"}, {"name": "a/b"}]})) }))
        .route("/api/v1/receivers/{name}/test", post(|Path(name): Path<String>| async move {
            Json(json!({"receiver": name, "delivered": name == "pager", "detail": "x"}))
        }))
        .route("/api/v1/metrics", get(|| async { Json(json!({"metrics": [{"name": "system.cpu_percent", "kind": "gauge", "unit": "", "series": 1}]})) }))
        .route("/api/v1/metrics/query", get(|RawQuery(query): RawQuery| async move {
            if query.unwrap_or_default().contains("name=nothing") {
                return ApiError::not_found("no metric named `nothing`").into_response();
            }
            let sample = |value: f64| json!({"timestamp": "2025-01-02T03:04:05Z", "value": value});
            Json(json!({"series": [{"series": {"name": "system.cpu_percent", "labels": [["cpu", "0"]]}, "kind": "gauge", "unit": "", "samples": [sample(7.0), sample(3.5)]}]})).into_response()
        }))
        .route("/api/v1/export/{what}", get(|Path(what): Path<String>| async move {
            match what.as_str() {
                "errors" => ApiError::not_found("there is nothing to export").into_response(),
                "alerts" => String::new().into_response(),
                _ => format!("{{\"timestamp\":\"2025-01-02T03:04:05Z\",\"body\":\"{what} 1\"}}\n{{\"body\":\"{what} 2\"}}\n").into_response(),
            }
        }))
}

#[test]
fn findings_are_asked_for_as_said_and_shown_in_rows() {
    let url = serve(host());
    let (text, exit) = ask_host(&url, &["findings", "--plugin", "ssh", "--since", "1h", "--level", "error"]);
    insta::assert_snapshot!(text, @r"
    LAST        LEVEL  PLUGIN  RULE         TITLE                               COUNT  FINDINGS  LABELS
    2025-01-02  ERROR  ssh     brute_force  since=1h&plugin=ssh&severity=error  12     2         ip=10.0.0.1
    ");
    assert_eq!(exit, Exit::Done);
    let (text, _) = ask_host(&url, &["findings", "--json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap()["position"], "7");
}

#[test]
fn status_is_readable_and_its_exit_code_tells() {
    let url = serve(host());
    let (text, exit) = ask_host(&url, &["status"]);
    insta::assert_snapshot!(text.replace(&url, "URL"), @r"
    watchfire 0.1.0 is ok: URL
      process  pid 7, up 1h2m5s, 52.4 MB of memory
      data     /data
      logs     12,345 records, 1.2 MB
      metrics  40 series, 900 B
      machine  healthy: processors 3.1 %, memory 40 %, disk 55.5 %, 120 processes, 0 alerts firing

    PART  STATE  DETAIL
    logs  ok     1 day
    warning: a placeholder
    ");
    assert_eq!(exit, Exit::Done);
    let (text, exit) = ask_host(&format!("{url}/degraded"), &["status"]);
    assert!(text.contains("hint: logs: free some disk"), "{text}");
    assert_eq!(exit, Exit::Failed);
    let (text, _) = ask_host(&url, &["status", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["health"]["process_count"], 120);
}

#[test]
fn tables_of_rules_alerts_metrics_and_notifications() {
    let url = serve(host());
    insta::assert_snapshot!(ask_host(&url, &["rules"]).0, @r"
    NAME           STATE     LEVEL    CONDITION                                                       FOR  RECEIVER  ORIGIN
    CPU使用率过高  INACTIVE  WARNING  avg(system.cpu_percent[5m]) > 80                                2m   all       file
    burst          FIRING    ERROR    count(logs{level=ERROR service=api}[5m]) by service.name >= 10  0s   pager     api
    ");
    insta::assert_snapshot!(ask_host(&url, &["alerts"]).0, @r"
    STATE   LEVEL  RULE   SINCE       VALUE  LABELS            FINGERPRINT
    FIRING  ERROR  burst  2025-01-02  12     service.name=api  ab12
    ");
    insta::assert_snapshot!(ask_host(&url, &["outbox"]).0, @r"
    ID  STATE  RECEIVER  ALERTS  TRIES  CREATED  NEXT TRY  LAST ERROR
    1   DEAD   pager     0       3      -        -         500
    ");
    insta::assert_snapshot!(ask_host(&url, &["metrics"]).0, @r"
    NAME                KIND   UNIT  SERIES
    system.cpu_percent  gauge  -     1
    ");
    insta::assert_snapshot!(ask_host(&url, &["metrics", "system.cpu_percent"]).0, @r"
    LABELS  LAST  AT          LEAST  GREATEST  SAMPLES
    cpu=0   3.5   2025-01-02  3.5    7         2
    ");
    insta::assert_snapshot!(ask_host(&url, &["alerts", "ab12"]).0, @r"
    fingerprint  ab12
    rule         burst
    state        firing
    labels       a=b
    since        2025-01-02

    what happened
    AT          STATE   VALUE  REASON
    2025-01-02  FIRING  12     12 >= 10

    what was decided
    AT          DECISION  REASON  UNTIL  NOTIFICATION
    2025-01-02  notify    new     -      n1

    notifications
    ID  STATE      RECEIVER  ALERTS  TRIES  CREATED     NEXT TRY  LAST ERROR
    n1  DELIVERED  pager     1       1      2025-01-02  -         -

    tries
    NOTIFICATION  TRY  AT          OUTCOME    DETAIL
    n1            1    2025-01-02  delivered  HTTP 200
    ");
    for args in [["rules", "--json"], ["alerts", "--json"], ["outbox", "--json"], ["metrics", "--json"]] {
        let (text, exit) = ask_host(&url, &args);
        assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{text}");
        assert_eq!(exit, Exit::Done);
    }
}

#[test]
fn search_passes_its_filters_on() {
    let url = serve(host());
    let args = [
        "search",
        "disk full",
        "--level",
        "error",
        "--service",
        "api",
        "--attribute",
        "k=v=w",
        "--since",
        "1h",
        "-n",
        "5",
        "--json",
    ];
    let (text, exit) = ask_host(&url, &args);
    let record: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(record["body"], "q=disk+full&level=error&service=api&attribute=k%3Dv%3Dw&since=1h&limit=5");
    assert_eq!(exit, Exit::Done);
}

#[test]
fn a_query_with_pipes_is_a_table() {
    let url = serve(host());
    insta::assert_snapshot!(ask_host(&url, &["search", "| stats count by level"]).0, @r"
    level  count
    ERROR  12
    -      3
    ");
    let (text, _) = ask_host(&url, &["search", "| stats count by level", "--json"]);
    assert_eq!(text.lines().next(), Some(r#"{"level":"ERROR","count":12}"#));
}

#[test]
fn context_marks_the_record_that_is_meant() {
    let url = serve(host());
    let lines = |args: &[&str]| {
        let (text, exit) = ask_host(&url, args);
        assert_eq!(exit, Exit::Done);
        text.lines().map(|line| format!("{}{}", &line[..1], line.rsplit("line ").next().unwrap_or_default())).collect::<Vec<_>>()
    };
    assert_eq!(lines(&["context", "2"]), [" 1", ">2", " 3"]);
    assert_eq!(lines(&["search", "x", "--context", "1"]), [" 1", ">2", " 3"]);
    assert_eq!(ask_host(&url, &["search", "--complete", "a ser"]).0, "a service\n");
    assert_eq!(ask_host(&url, &["search", "x", "--output", "x.xlsx"]).1, Exit::Wrong);
}

#[test]
fn exit_codes_tell_asked_wrongly_from_failed() {
    let url = serve(host());
    assert_eq!(ask_host(&url, &["search", "--since", "yesterday"]).1, Exit::Wrong);
    assert_eq!(ask_host(&url, &["metrics", "nothing"]).1, Exit::Wrong);
    assert_eq!(ask_host(&url, &["search", "--attribute", "novalue"]).1, Exit::Wrong);
    assert_eq!(ask_host("nonsense", &["status"]).1, Exit::Wrong);
    let stranger = serve(Router::new().route("/api/v1/rules", get(|| async { "<html>" })));
    assert_eq!(ask_host(&stranger, &["status"]).1, Exit::Failed);
    assert_eq!(ask_host(&stranger, &["rules"]).1, Exit::Failed);
    assert_eq!(ask_host("http://127.0.0.1:1", &["status"]).1, Exit::Failed);
    assert_eq!(run_here(&["nonsense"]).1, Exit::Wrong);
    assert_eq!(run_here(&["--help"]).1, Exit::Done);
    assert_eq!(run_here(&["check", "--config", "/nowhere/w.json"]).1, Exit::Wrong);
}

#[test]
fn a_channel_that_does_not_deliver_fails_the_test() {
    let url = serve(host());
    insta::assert_snapshot!(ask_host(&url, &["test"]).0, @r"
    RECEIVER  DELIVERED  DETAIL
    pager     yes        x
    a/b       NO         x
    ");
    assert_eq!(ask_host(&url, &["test"]).1, Exit::Failed);
    assert_eq!(ask_host(&url, &["test", "channel", "pager"]).1, Exit::Done);
    assert_eq!(ask_host(&url, &["test", "rule", "burts"]).1, Exit::Wrong);
    insta::assert_snapshot!(ask_host(&url, &["test", "rule", "burst"]).0, @"1 records within the last 5m");
    insta::assert_snapshot!(ask_host(&url, &["test", "rule", "CPU使用率过高"]).0, @r"
    LABELS  LAST VALUE  SAMPLES
    cpu=0   3.5         2
    ");
}

#[test]
fn an_export_appears_whole_or_not_at_all() {
    let url = serve(host());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.json");
    let output = path.to_str().unwrap();
    assert_eq!(ask_host(&url, &["export", "--output", output]).1, Exit::Done);
    let data: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!((data["logs"][1]["body"].as_str(), data["alerts"].as_array().map(Vec::len)), (Some("logs 2"), Some(0)));
    assert!(data.get("errors").is_none(), "left out, as the host has none");

    std::fs::remove_file(&path).unwrap();
    assert_eq!(ask_host(&url, &["export", "--output", output, "--what", "logs,errors"]).1, Exit::Wrong);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");

    let (text, _) = ask_host(&url, &["export", "--format", "ndjson", "--output", "-", "--what", "logs"]);
    assert_eq!(text.lines().count(), 2);
}

#[test]
fn an_export_that_breaks_off_leaves_nothing() {
    let broken = || async {
        let chunks = [Ok::<_, std::io::Error>("{\"body\":1}\n"), Err(std::io::Error::other("gone"))];
        axum::body::Body::from_stream(futures::stream::iter(chunks))
    };
    let url = serve(Router::new().route("/api/v1/export/logs", get(broken)));
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("data.json");
    assert_eq!(ask_host(&url, &["export", "--output", output.to_str().unwrap(), "--what", "logs"]).1, Exit::Failed);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_token_goes_along() {
    let url = serve(Router::new().route(
        "/api/v1/rules",
        get(|headers: HeaderMap| async move {
            if headers.get(header::AUTHORIZATION).is_some_and(|value| value == "Bearer t0ken") {
                Json(json!({"rules": []})).into_response()
            } else {
                ApiError::unauthorized("a token is required").into_response()
            }
        }),
    ));
    assert_eq!(ask_host(&url, &["rules", "--token", "t0ken"]).1, Exit::Done);
    assert_eq!(ask_host(&url, &["rules"]).1, Exit::Failed);
}

/// Takes `lines` lines, then is closed, as `head` is.
struct ClosingPipe {
    lines: usize,
    text: String,
}

impl std::io::Write for ClosingPipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.text.matches('\n').count() >= self.lines {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.text.push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn tail_goes_on_where_a_broken_connection_ended_and_a_closed_pipe_ends_it() {
    let stream = |headers: HeaderMap| async move {
        let seen: u64 = headers.get("last-event-id").map_or(0, |id| id.to_str().unwrap().parse().unwrap());
        let event = |seq: u64| format!("id: {seq}\ndata: {{\"seq\":\"{seq}\"}}\n\n");
        let text = format!(": hello\n\n{}{}", event(seen + 1), event(seen + 2));
        let body = axum::body::Body::from_stream(futures::stream::iter([Ok::<_, Infallible>(text)]));
        (StatusCode::OK, [(header::CONTENT_TYPE, "text/event-stream")], body)
    };
    let url = serve(Router::new().route("/api/v1/logs/tail", get(stream)));
    let mut pipe = ClosingPipe { lines: 4, text: String::new() };
    let exit = execute(["watchfire", "tail", "--json", "--url", &url], &mut Output::new(&mut pipe));
    assert_eq!(exit, Exit::Done);
    assert_eq!(pipe.text, "{\"seq\":\"1\"}\n{\"seq\":\"2\"}\n{\"seq\":\"3\"}\n{\"seq\":\"4\"}\n");
}

#[test]
fn create_config_does_not_overwrite_and_check_accepts_what_it_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("monitoring_config.json");
    let output = path.to_str().unwrap();
    assert_eq!(run_here(&["create-config", "--output", output]).1, Exit::Done);
    assert_eq!(run_here(&["create-config", "--output", output]).1, Exit::Wrong);
    assert_eq!(run_here(&["create-config", "--output", output, "--force"]).1, Exit::Done);
    let (text, exit) = run_here(&["check", "--config", output]);
    assert!(text.contains("the configuration is fine"), "{text}");
    assert_eq!(exit, Exit::Done);
}

#[test]
fn the_schema_and_completions_are_printed() {
    let (schema, exit) = run_here(&["check", "--schema"]);
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    assert!(schema["properties"]["alerting"].is_object());
    assert_eq!(exit, Exit::Done);
    assert!(run_here(&["completions", "bash"]).0.contains("create-config"));
}

#[test]
fn stopping_where_nothing_runs_fails_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run_here(&["stop", "--data", folder.path().to_str().unwrap()]).1, Exit::Failed);
}
