//! Errors become issues, from wherever they come.

use std::io::Write as _;

use serde_json::{Value, json};
use watchfire::config::FileInput;
use watchfire_tests::otel::{self, Wire};
use watchfire_tests::{Client, Installation, TestHost, eventually};

/// A traceback as Python prints it when `line` lies where it does.
fn traceback(line: u32) -> String {
    format!(
        "Traceback (most recent call last):\n  File \"/app/shop/api.py\", line {line}, in handle\n    charge(order)\n  File \"/app/shop/orders.py\", line {line}, in charge\n    raise ValueError(order)\nValueError: bad order {line}"
    )
}

/// Returns all issues, the most frequent first.
async fn issues(client: &Client) -> Vec<Value> {
    client.get_json("/api/v1/issues?sort=count").await["issues"].as_array().cloned().expect("issues are a list")
}

/// Returns the issues as soon as they have occurred `count` times together.
async fn issues_until(client: &Client, count: u64) -> Vec<Value> {
    eventually(&format!("{count} errors are counted"), async || {
        let issues = issues(client).await;
        let sum: u64 = issues.iter().filter_map(|issue| issue["count"].as_u64()).sum();
        assert!(sum <= count, "{issues:#?}");
        (sum == count).then_some(issues)
    })
    .await
}

#[tokio::test]
async fn exceptions_of_the_opentelemetry_sdk_become_issues() {
    let host = TestHost::start();
    let sent = otel::send_logs(host.client().url(), Wire::ALL[0], "shop", 40);
    let with = |kind: &str| sent.iter().filter(|record| record["attributes"]["exception.type"] == kind).count() as u64;
    let (values, keys) = (with("ValueError"), with("KeyError"));
    assert!(values > 1 && keys > 1, "the program raises both");
    let issues = issues_until(host.client(), values + keys).await;
    assert_eq!(issues.len(), 2, "{issues:#?}");
    let counts = [("ValueError", values), ("KeyError", keys)];
    for (kind, count) in counts {
        let issue = issues.iter().find(|issue| issue["type"] == kind).expect("each class is an issue");
        assert_eq!((issue["count"].as_u64(), issue["service"].as_str()), (Some(count), Some("shop")), "{issue:#}");
        let detail = host.client().get_json(&format!("/api/v1/issues/{}", issue["id"].as_str().expect("an id"))).await;
        assert_eq!(detail["grouping"]["basis"], "stack_trace", "{detail:#}");
        assert!(issue["culprit"].as_str().is_some_and(|culprit| culprit.starts_with("otel_logs in ")), "{issue:#}");
        // An event leads to its log record.
        let event = &detail["events"][0];
        let before = event["seq"].as_str().and_then(|seq| seq.parse::<u64>().ok()).expect("a seq") - 1;
        let records = host.client().get(&format!("/api/v1/export/logs?after={before}")).await.ok().json_lines();
        assert_eq!(records[0]["attributes"]["exception.message"], event["message"]);
    }
}

#[tokio::test]
async fn one_error_is_one_issue_by_attributes_by_text_from_a_file_and_by_capture() {
    let host = TestHost::start_with(|config, folder| {
        config.inputs.files.push(FileInput {
            service: Some("shop".into()),
            from_beginning: true,
            ..FileInput::at(folder.join("app.log"))
        });
    });
    host.client()
        .ingest(&[
            json!({"level": "ERROR", "service": "shop", "message": "request failed", "exception.type": "ValueError",
                "exception.message": "bad order 1", "exception.stacktrace": traceback(1)}),
            json!({"level": "ERROR", "service": "shop", "message": format!("request failed\n{}", traceback(2))}),
            // A stack trace that nobody calls an error is none.
            json!({"level": "DEBUG", "service": "shop", "message": format!("for the curious\n{}", traceback(2))}),
            json!({"level": "ERROR", "service": "shop", "message": "an error without a stack trace"}),
        ])
        .await;
    let line = json!({"level": "critical", "service": "shop", "message": format!("job failed\n{}", traceback(3))});
    let mut file = std::fs::File::create(host.path("app.log")).expect("the folder can be written");
    writeln!(file, "{line}\n2026-11-22 08:30:00,123 ERROR shop: job failed\n{}\nINFO go on", traceback(5))
        .expect("the folder can be written");
    let capture =
        json!({"type": "ValueError", "message": "bad order 4", "stacktrace": traceback(4), "service": "shop", "severity": "HIGH"});
    let answer = host.client().post_json("/api/v1/errors", &capture).await.ok().json();
    let issues = issues_until(host.client(), 5).await;
    assert_eq!(issues.len(), 1, "{issues:#?}");
    assert_eq!(answer, json!({"accepted": 1, "rejected": 0, "issues": [issues[0]["id"]]}));
    assert_eq!(issues[0]["culprit"], "orders in charge");
    assert_eq!(host.client().get("/api/v1/export/errors").await.ok().json_lines().len(), 5);
}

#[tokio::test]
async fn a_resolved_issue_that_occurs_again_has_regressed() {
    let mut host = TestHost::start();
    let capture = json!([{"type": "TimeoutError", "message": "no answer within 30s"}, {"type": "TimeoutError", "message": "no answer within 5s"}]);
    let answer = host.client().post_json("/api/v1/errors", &capture).await.ok().json();
    let id = answer["issues"][0].as_str().expect("an id").to_owned();
    assert_eq!(answer["issues"][0], answer["issues"][1]);
    issues_until(host.client(), 2).await;
    let act = async |host: &TestHost, verb: &str| host.client().post_json(&format!("/api/v1/issues/{id}/{verb}"), &json!({})).await;
    assert_eq!(act(&host, "resolve").await.ok().json()["issue"]["status"], "resolved");
    host.restart();
    host.client().post_json("/api/v1/errors", &capture[0]).await.ok();
    assert_eq!(issues_until(host.client(), 3).await[0]["status"], "unresolved");
    let detail = host.client().get_json(&format!("/api/v1/issues/{id}")).await;
    let kinds: Vec<_> = detail["history"].as_array().expect("a list").iter().map(|change| change["kind"].clone()).collect();
    assert_eq!(kinds, ["regressed", "new"]);
    act(&host, "ignore").await.ok();
    host.client().post_json("/api/v1/errors", &capture[0]).await.ok();
    assert_eq!(issues_until(host.client(), 4).await[0]["status"], "ignored");
    assert_eq!(act(&host, "unresolve").await.ok().json()["issue"]["status"], "unresolved");
    let gone = host.client().post_json("/api/v1/issues/none/resolve", &json!({})).await;
    assert_eq!((gone.status, gone.json()["error"]["code"].as_str()), (404, Some("not_found")));
}

#[tokio::test]
async fn wrong_captures_are_refused_with_their_place_and_nothing_of_them_is_kept() {
    let host = TestHost::start();
    let refused = host.client().post_json("/api/v1/errors", &json!([{"type": "A"}, {"type": "B", "severity": "worst"}])).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json()["error"]["message"], "[1].severity: `worst` is none of LOW, MEDIUM, HIGH, CRITICAL");
    let long = host.client().post_json("/api/v1/errors", &json!({"stacktrace": "a".repeat(600_000)})).await;
    assert_eq!(
        (long.status, long.json()["error"]["message"].as_str()),
        (400, Some("stacktrace: may have 524288 bytes, not 600000"))
    );
    assert_eq!(host.client().get_json("/api/v1/status").await["logs"]["records"], 0);
}

#[tokio::test]
async fn lists_and_statistics_answer_what_they_are_asked() {
    let host = TestHost::start();
    let error =
        |kind: &str, service: &str, severity: &str| json!({"type": kind, "message": "x", "service": service, "severity": severity});
    let captures = json!([error("A", "shop", "LOW"), error("B", "billing", "CRITICAL"), error("B", "billing", "CRITICAL")]);
    host.client().post_json("/api/v1/errors", &captures).await.ok();
    issues_until(host.client(), 3).await;
    let titles = async |query: &str| {
        let answer = host.client().get_json(&format!("/api/v1/issues{query}")).await;
        answer["issues"].as_array().expect("a list").iter().map(|issue| issue["title"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(titles("?sort=count").await, ["B: x", "A: x"]);
    assert_eq!(titles("?service=shop").await, ["A: x"]);
    assert_eq!(titles("?q=b%3A").await, ["B: x"]);
    assert_eq!(titles("?status=resolved").await, [] as [&str; 0]);
    assert_eq!(titles("?since=1h").await.len(), 2);
    assert_eq!(host.client().get_json("/api/v1/issues?limit=1").await["truncated"], true);
    assert_eq!(host.client().get("/api/v1/issues?sort=age").await.status, 400);
    let statistics = host.client().get_json("/api/v1/errors/statistics?hours=24").await;
    assert_eq!((&statistics["total"], &statistics["issues"]), (&json!(3), &json!(2)));
    assert_eq!(statistics["by_level"], json!([{"name": "FATAL", "count": 2}, {"name": "INFO", "count": 1}]));
    assert_eq!(statistics["top_issues"][0]["title"], "B: x");
    let status = host.client().get_json("/api/v1/status").await;
    let part = status["parts"].as_array().expect("a list").iter().find(|part| part["name"] == "error_tracking").expect("a part");
    assert_eq!((&part["state"], &part["detail"]), (&json!("ok"), &json!("2 unresolved issues")));
}

#[tokio::test]
async fn the_command_line_lists_shows_and_decides() {
    let installation = Installation::new(json!({}));
    let host = installation.start().await;
    let capture = json!({"type": "ValueError", "message": "bad order 4", "stacktrace": traceback(4), "service": "shop"});
    host.client().post_json("/api/v1/errors", &capture).await.ok();
    let id = issues_until(host.client(), 1).await[0]["id"].as_str().expect("an id").to_owned();
    let list = installation.run_against(&host, &["errors", "--service", "shop"]).expect(0).stdout;
    assert!(list.contains(&id) && list.contains("UNRESOLVED") && list.contains("ValueError: bad order 4"), "{list}");
    let story = installation.run_against(&host, &["errors", &id]).expect(0).stdout;
    assert!(story.contains("watchfire-g2") && story.contains("orders in charge") && story.contains("Traceback"), "{story}");
    installation.run_against(&host, &["errors", "resolve", &id]).expect(0);
    let resolved = installation.run_against(&host, &["errors", "--status", "resolved", "--json"]).expect(0).json_lines();
    assert_eq!(resolved[0]["id"], id.as_str());
    installation.run_against(&host, &["errors", "resolve", "none"]).expect(2);
    let told = installation.run_against(&host, &["errors", "statistics", "--hours", "2"]).expect(0).stdout;
    assert!(told.starts_with("errors: 1; issues: 1, of them new: 1; hours: 2\n.▁\n"), "{told}");
    assert!(told.contains(&id) && told.contains("1      ValueError"), "{told}");
    let told = installation.run_against(&host, &["errors", "statistics", "--json"]).expect(0).json();
    assert_eq!((&told["hours"], &told["total"]), (&json!(24), &json!(1)));
    installation.run_against(&host, &["errors", "statistics", "--hours", "721"]).expect(2);
}

/// What programs print when they fail, as it stands in their logs, and the issue that comes of it.
const PRINTED: [(&str, &str, &str, &str); 5] = [
    (
        "python",
        "ValueError",
        "orders in charge",
        "2026-11-22 08:30:00,123 ERROR shop: job failed\nTraceback (most recent call last):\n  File \"/app/shop/orders.py\", line 9, in charge\n    raise ValueError(order)\nValueError: bad order 5\n2026-11-22 08:30:01,000 INFO shop: go on\n",
    ),
    (
        "java",
        "java.lang.IllegalStateException",
        "com.shop.Orders in charge",
        "2026-11-22 08:30:00.123 ERROR 1 --- [main] com.shop.Orders : request failed\njava.lang.IllegalStateException: no stock for 5\n\tat com.shop.Orders.charge(Orders.java:10)\n\tat com.shop.Main.main(Main.java:3)\n2026-11-22 08:30:01.000 INFO 1 --- [main] com.shop.Orders : go on\n",
    ),
    (
        "go",
        "panic",
        "main in charge",
        "panic: runtime error: index out of range [5] with length 3\n\ngoroutine 1 [running]:\nmain.charge(0x5)\n\t/app/main.go:12 +0x1d\nmain.main()\n\t/app/main.go:5 +0x20\n2026/11/22 08:30:01 go on\n",
    ),
    (
        "rust",
        "panic",
        "shop::orders in charge",
        "thread 'main' panicked at src/orders.rs:10:5:\nindex out of bounds: the len is 3 but the index is 5\nstack backtrace:\n   0: rust_begin_unwind\n   1: core::panicking::panic_fmt\n   2: shop::orders::charge\n             at ./src/orders.rs:10:5\n   3: shop::main\n             at ./src/main.rs:3:5\n2026-11-22T08:30:01Z INFO go on\n",
    ),
    (
        "node",
        "TypeError",
        "orders in charge",
        "2026-11-22T08:30:00.123Z ERROR request failed\nTypeError: Cannot read properties of undefined (reading 'id')\n    at charge (/app/orders.js:10:5)\n    at Object.<anonymous> (/app/index.js:3:1)\n    at node:internal/main:1:1\n2026-11-22T08:30:01.000Z INFO go on\n",
    ),
];

#[tokio::test]
async fn what_programs_of_five_languages_print_in_a_followed_file_becomes_issues() {
    let host = TestHost::start_with(|config, folder| {
        for (language, ..) in PRINTED {
            let path = folder.join(format!("{language}.log"));
            config.inputs.files.push(FileInput { service: Some(language.into()), from_beginning: true, ..FileInput::at(path) });
        }
    });
    for (language, _, _, text) in PRINTED {
        std::fs::write(host.path(&format!("{language}.log")), text).expect("the folder can be written");
    }
    let issues = issues_until(host.client(), PRINTED.len() as u64).await;
    for (language, kind, culprit, _) in PRINTED {
        let issue = issues.iter().find(|issue| issue["service"] == language).unwrap_or_else(|| panic!("{language}: {issues:#?}"));
        assert_eq!((issue["type"].as_str(), issue["culprit"].as_str()), (Some(kind), Some(culprit)), "{language}");
    }
}
