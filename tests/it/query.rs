//! The search language on a whole host: tables, counts over time, context, completion, exports, and stopping.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use watchfire_tasks::python;
use watchfire_tests::{Installation, TestHost};

const SERVICES: [&str; 3] = ["api", "worker", "db"];
const LEVELS: [&str; 4] = ["DEBUG", "INFO", "WARN", "ERROR"];

/// Returns a host with 120 records, one every ten seconds, the newest now: record `n` takes `n` ms and says so.
async fn host_with_records() -> TestHost {
    let host = TestHost::start();
    let now = host.clock().now();
    let records: Vec<Value> = (0..120_u64)
        .map(|n| {
            json!({"timestamp": now.minus(Duration::from_secs(10 * (119 - n))).to_string(), "level": LEVELS[(n % 4) as usize],
                "service": SERVICES[(n % 3) as usize], "message": format!("request {n} took {n} ms"), "duration": n,
                "path": format!("/api/{}", n % 5), "http.status": if n % 10 == 0 { 500 } else { 200 }})
        })
        .collect();
    host.client().ingest(&records).await;
    host
}

async fn query(host: &TestHost, q: &str) -> Value {
    host.client().query("/api/v1/logs/query", &[("q", q)]).await.ok().json()
}

async fn count(host: &TestHost, q: &str) -> u64 {
    query(host, &format!("{q} | stats count")).await["rows"][0][0].as_u64().unwrap_or(u64::MAX)
}

#[tokio::test]
async fn every_condition_finds_what_it_says() {
    let host = host_with_records().await;
    for (q, expected) in [
        ("", 120),
        ("request 7", 1),
        ("level>=warn", 60),
        ("level:error", 30),
        ("level!=error -level:debug", 60),
        ("service:api", 40),
        ("service:(api OR db)", 80),
        ("http.status:500", 12),
        ("duration>=100 duration<110", 10),
        ("duration:*", 120),
        ("user:*", 0),
        ("path:/api/*", 120),
        ("path:/api/3", 24),
        ("/took 1[0-9] ms/", 10),
        ("body~\"^request 11[0-9]\"", 10),
        ("path~3$", 24),
        ("NOT (level:error OR service:api)", 60),
        ("request 7 OR request 8", 2),
        ("since:95s", 10),
        ("until:95s", 110),
        ("seq>115", 5),
    ] {
        assert_eq!(count(&host, q).await, expected, "{q}");
    }
    let at = host.clock().now().minus(Duration::from_secs(95)).to_string();
    assert_eq!(count(&host, &format!("since:{at}")).await, 10);
}

#[tokio::test]
async fn pipes_make_tables() {
    let host = host_with_records().await;
    let answer = query(&host, "| stats count, avg(duration), max(duration) as slowest by level | sort -slowest").await;
    assert_eq!(answer["columns"], json!(["level", "count", "avg(duration)", "slowest"]));
    assert_eq!(answer["rows"][0], json!(["ERROR", 30, 61, 119]));
    assert_eq!(answer["rows"].as_array().map(Vec::len), Some(4));
    assert_eq!(answer["records_read"], 120);

    let answer = query(&host, "| top 2 http.status").await;
    assert_eq!(
        (&answer["columns"], &answer["rows"]),
        (&json!(["http.status", "count", "percent"]), &json!([[200, 108, 90], [500, 12, 10]]))
    );
    let answer = query(&host, "service:db | stats p50(duration), p99(duration), count_distinct(path)").await;
    assert_eq!(answer["rows"], json!([[59, 119, 5]]));
    let answer = query(&host, "level:error | fields body, duration | limit 1").await;
    assert_eq!((&answer["columns"], &answer["rows"]), (&json!(["body", "duration"]), &json!([["request 119 took 119 ms", 119]])));
    let answer = query(&host, "| sort duration | limit 2").await;
    assert_eq!((&answer["records"][0]["attributes"]["duration"], answer["records"].as_array().map(Vec::len)), (&json!(0), Some(2)));
    let answer = query(&host, "| stats count by time(10m)").await;
    let total: u64 = answer["rows"].as_array().into_iter().flatten().filter_map(|row| row[1].as_u64()).sum();
    assert_eq!(total, 120);
    assert_eq!(query(&host, "| uniq service").await["rows"], json!([["api"], ["db"], ["worker"]]));

    let posted = host.client().post(
        "/api/v1/logs/query",
        "application/json",
        r#"{"q": "| stats count", "service": ["api", "db"], "limit": 5}"#,
    );
    assert_eq!(posted.await.ok().json()["rows"], json!([[80]]));
}

#[tokio::test]
async fn a_wrong_query_is_refused_with_its_place() {
    let host = host_with_records().await;
    for (path, q, said) in [
        ("/api/v1/logs", "level>=wran", "`q`: `wran` is no level; did you mean `warn`?"),
        ("/api/v1/logs/query", "a (b", "(character 3)\n  a (b\n    ^"),
        ("/api/v1/logs", "a | stats count", "ask /api/v1/logs/query"),
        ("/api/v1/logs/query", "| stats count by service | sort -cuont", "did you mean `count`?"),
        ("/api/v1/logs/tail", "a | limit 3", "live tail"),
        ("/api/v1/logs/histogram", "a | limit 3", "histogram"),
        ("/api/v1/export/logs", "a AND", "but the query ends"),
    ] {
        let answer = host.client().query(path, &[("q", q)]).await;
        assert_eq!(answer.status, 400, "{q}");
        let message = answer.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains(said), "{q}: {message}");
    }
    for (name, value) in [("timeout", "soon"), ("zone", "Nowhere/Land"), ("limit", "10001")] {
        let answer = host.client().query("/api/v1/logs/query", &[(name, value)]).await;
        assert_eq!(answer.status, 400, "{name}");
        assert!(answer.body.contains(name), "{}", answer.body);
    }
}

#[tokio::test]
async fn an_empty_answer_says_what_was_probably_meant() {
    let host = host_with_records().await;
    for (q, hint) in [
        ("http.staus:500", "did you mean `http.status`?"),
        ("service:wroker", "did you mean `worker`?"),
        ("nothing or nobody", "write `OR` between conditions"),
        ("http.status=500", "write `http.status:500`"),
        ("since:2020-01-01 until:2020-01-02", "nothing in this time range"),
    ] {
        let answer = query(&host, q).await;
        assert!(answer["hint"].as_str().unwrap_or_default().contains(hint), "{q}: {answer}");
    }
}

#[tokio::test]
async fn counts_over_time_add_up() {
    let host = host_with_records().await;
    for by in ["level", "service", "path", "none"] {
        for (name, value) in [("step", "1m"), ("buckets", "7")] {
            let query = [("q", "duration>=20"), ("by", by), (name, value)];
            let answer = host.client().query("/api/v1/logs/histogram", &query).await.ok().json();
            assert_eq!(answer["total"], 100, "{by} {value}: {answer}");
            let bars = answer["series"]
                .as_array()
                .into_iter()
                .flatten()
                .flat_map(|series| series["counts"].as_array().cloned().unwrap_or_default());
            assert_eq!(bars.filter_map(|count| count.as_u64()).sum::<u64>(), 100, "{by} {value}");
        }
    }
    let answer =
        host.client().query("/api/v1/logs/histogram", &[("by", "level"), ("since", "295s"), ("step", "1m")]).await.ok().json();
    assert_eq!((answer["total"].as_u64(), answer["step_seconds"].as_f64()), (Some(30), Some(60.0)));
}

#[tokio::test]
async fn context_is_of_the_same_service_unless_asked_otherwise() {
    let host = host_with_records().await;
    let seqs = async |query: &[(&str, &str)]| {
        let answer = host.client().query("/api/v1/logs/context", query).await.ok().json();
        let seqs: Vec<u64> =
            answer["records"].as_array().into_iter().flatten().filter_map(|record| record["seq"].as_str()?.parse().ok()).collect();
        (seqs, answer["at"].as_u64().unwrap_or_default())
    };
    assert_eq!(seqs(&[("seq", "50"), ("before", "2"), ("after", "1")]).await, (vec![44, 47, 50, 53], 2));
    assert_eq!(seqs(&[("seq", "1"), ("before", "5"), ("after", "2"), ("same", "all")]).await, (vec![1, 2, 3], 0));
    assert_eq!(host.client().query("/api/v1/logs/context", &[("seq", "999")]).await.status, 404);
    let answer = host.client().query("/api/v1/logs/context", &[("seq", "5"), ("same", "file")]).await;
    assert!(answer.status == 400 && answer.body.contains("log.file.path"), "{}", answer.body);
}

#[tokio::test]
async fn what_may_come_next_is_suggested() {
    let host = host_with_records().await;
    let suggested = async |q: &str| {
        let answer = host.client().query("/api/v1/logs/complete", &[("q", q)]).await.ok().json();
        let texts: Vec<String> = answer["items"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|item| item["text"].as_str().unwrap_or_default().to_owned())
            .collect();
        texts
    };
    assert_eq!(suggested("http.").await, ["http.status"]);
    assert_eq!(suggested("a service:").await, ["api", "db", "worker"]);
    assert_eq!(suggested("http.status:").await, ["200", "500"]);
    assert_eq!(suggested("level>=w").await, ["warn"]);
    assert_eq!(suggested("x | st").await, ["stats"]);
    assert_eq!(suggested("x | stats p9").await, ["p90", "p99"]);
    assert_eq!(suggested("x | top 5 pat").await, ["pattern", "path"]);
}

#[tokio::test]
async fn a_query_as_lines_ends_with_how_it_ended() {
    let host = host_with_records().await;
    let ask = async |q: &str, timeout: &str| {
        let request = host.client().request(reqwest::Method::GET, "/api/v1/logs/query").query(&[("q", q), ("timeout", timeout)]);
        host.client().send(request.header("accept", "application/x-ndjson")).await.ok().json_lines()
    };
    let lines = ask("| stats count by service", "10s").await;
    assert_eq!((&lines[0]["columns"], &lines[1]["row"]), (&json!(["service", "count"]), &json!(["api", 40])));
    assert_eq!(lines[4]["end"]["truncated"], false);
    let lines = ask("level:error", "10s").await;
    assert_eq!((lines.len(), &lines[0]["record"]["severity_text"]), (31, &json!("ERROR")));
    let lines = ask("level:error", "0s").await;
    assert_eq!((lines.len(), &lines[0]["end"]["partial"]), (1, &json!("timeout")));
    assert_eq!(host.client().get_json("/api/v1/logs/queries").await, json!([]));
    let answer = host.client().send(host.client().request(reqwest::Method::DELETE, "/api/v1/logs/queries/1")).await;
    assert_eq!(answer.status, 404);
}

#[tokio::test]
async fn an_export_is_a_csv_or_lines_with_the_fields_that_were_asked_for() {
    let host = host_with_records().await;
    let export = async |query: &[(&str, &str)]| host.client().query("/api/v1/export/logs", query).await.ok();
    let csv = export(&[("format", "csv"), ("q", "duration>=118"), ("fields", "seq, body, duration")]).await;
    assert_eq!(csv.body, "seq,body,duration\n119,request 118 took 118 ms,118\n120,request 119 took 119 ms,119\n");
    assert!(csv.header("content-type").starts_with("text/csv"));
    let lines = export(&[("q", "duration>=118"), ("fields", "body")]).await.json_lines();
    assert_eq!(lines, [json!({"body": "request 118 took 118 ms"}), json!({"body": "request 119 took 119 ms"})]);
    let table = export(&[("format", "csv"), ("q", "| stats count by service")]).await;
    assert_eq!(table.body, "service,count\napi,40\ndb,40\nworker,40\n");
    assert_eq!(export(&[("format", "csv")]).await.body.lines().count(), 121);
}

/// Returns what DuckDB answers to `sql`.
fn duckdb(sql: &str) -> Value {
    let mut command = Command::new(python::ensure().unwrap_or_else(|failed| panic!("{failed}")));
    let output =
        command.arg(python::programs().join("parquet_rows.py")).arg(sql).stdin(Stdio::null()).output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("the program prints JSON")
}

#[tokio::test]
async fn duckdb_reads_an_export_as_parquet() {
    let host = host_with_records().await;
    let installation = Installation::new(json!({}));
    let search = |query: &str, file: &str| {
        installation.run(&["search", query, "--output", file, "--url", host.client().url()]).expect(0);
        installation.path(file).display().to_string()
    };
    let all = search("*", "all.parquet");
    assert_eq!(
        duckdb(&format!("SELECT count(*), min(seq), max(seq), count(DISTINCT service) FROM '{all}'")),
        json!([[120, 1, 120, 3]])
    );
    let newest = host.clock().now().as_nanos();
    assert_eq!(
        duckdb(&format!(
            "SELECT epoch_ns(timestamp), level, severity_number, body, attributes->>'path', trace_id FROM '{all}' ORDER BY seq DESC LIMIT 1"
        )),
        json!([[newest, "ERROR", 17, "request 119 took 119 ms", "/api/4", null]])
    );
    let table = search("| stats count, avg(duration) by service", "table.parquet");
    assert_eq!(
        duckdb(&format!("SELECT service, count, \"avg(duration)\" FROM '{table}' ORDER BY service LIMIT 1")),
        json!([["api", 40, 58.5]])
    );
    let fields = search("level:error | fields body, user", "fields.parquet");
    assert_eq!(duckdb(&format!("SELECT count(body), count(user) FROM '{fields}'")), json!([[30, 0]]));
}

#[tokio::test]
async fn the_command_line_shows_tables_context_and_errors_with_their_place() {
    let host = host_with_records().await;
    let installation = Installation::new(json!({}));
    let run = |args: &[&str]| installation.run_with(args, &[("WATCHFIRE_URL", host.client().url())], "");
    let table = run(&["search", "| stats count by service"]).expect(0).stdout;
    assert_eq!(table.split_whitespace().collect::<Vec<_>>(), ["service", "count", "api", "40", "db", "40", "worker", "40"]);
    let wrong = run(&["search", "level>=wran"]).expect(2).stderr;
    assert!(wrong.contains("did you mean `warn`?") && wrong.contains("^^^^"), "{wrong}");
    let hits = run(&["search", "request 60", "--context", "1"]).expect(0).stdout;
    let marks: Vec<&str> = hits.lines().map(|line| &line[..1]).collect();
    assert_eq!(marks, [" ", ">", " "], "{hits}");
    let around = run(&["context", "61", "--before", "1", "--after", "0", "--same", "all", "--json"]).expect(0).json_lines();
    assert_eq!(around.iter().map(|record| record["seq"].clone()).collect::<Vec<_>>(), ["60", "61"]);
    let csv = installation.path("out.csv");
    run(&["search", "level:error | fields seq, service", "--limit", "2", "--output", "out.csv"]).expect(0);
    assert_eq!(std::fs::read_to_string(csv).expect("the file is there"), "seq,service\n120,db\n116,worker\n");
    let next = run(&["search", "--complete", "service:a"]).expect(0).stdout;
    assert_eq!(next, "service:api\n");
}

#[tokio::test]
async fn a_tail_with_a_query_goes_on_where_it_was_left() {
    let host = host_with_records().await;
    let request = host.client().request(reqwest::Method::GET, "/api/v1/logs/tail");
    let mut events = host.client().events(request.query(&[("q", "level:error service:db"), ("after", "100")])).await;
    assert_eq!([events.next().await.id, events.next().await.id], ["108", "120"]);
}
