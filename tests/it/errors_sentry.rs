//! Sentry's protocol, byte by byte: what its SDKs do not show of themselves.

use std::io::Write as _;

use serde_json::{Value, json};
use watchfire_tests::{Answer, Client, Installation, TestHost, eventually};

fn event(kind: &str, changes: Value) -> Value {
    let mut event = json!({
        "platform": "python", "level": "error", "release": "shop@1.0.0", "environment": "live", "server_name": "web1",
        "exception": {"values": [{"type": kind, "value": "order 5 has no open position", "stacktrace": {"frames": [
            {"abs_path": "/app/shop/api.py", "filename": "shop/api.py", "function": "handle", "lineno": 3, "in_app": true},
            {"abs_path": "/app/shop/orders.py", "filename": "shop/orders.py", "function": "charge", "lineno": 12, "in_app": true, "context_line": "    raise it"}]}}]},
    });
    let (Some(event_map), Value::Object(changes)) = (event.as_object_mut(), changes) else { return event };
    event_map.extend(changes);
    event
}

fn envelope(items: &[(&str, Value)]) -> String {
    let mut text = "{}\n".to_owned();
    for (kind, payload) in items {
        let payload = payload.to_string();
        text.push_str(&json!({"type": kind, "length": payload.len()}).to_string());
        text.push('\n');
        text.push_str(&payload);
        text.push('\n');
    }
    text
}

async fn send(client: &Client, items: &[(&str, Value)]) -> Answer {
    client.post("/api/1/envelope/?sentry_key=any", "application/x-sentry-envelope", envelope(items)).await
}

async fn send_event(client: &Client, event: Value) {
    send(client, &[("event", event)]).await.ok();
}

async fn issues_until(client: &Client, query: &str, count: u64) -> Vec<Value> {
    eventually(&format!("{count} errors are counted"), async || {
        let issues =
            client.get_json(&format!("/api/v1/issues?sort=count{query}")).await["issues"].as_array().cloned().expect("a list");
        let sum: u64 = issues.iter().filter_map(|issue| issue["count"].as_u64()).sum();
        assert!(sum <= count, "{issues:#?}");
        (sum == count).then_some(issues)
    })
    .await
}

async fn detail(client: &Client, id: &Value) -> Value {
    client.get_json(&format!("/api/v1/issues/{}", id.as_str().expect("an id"))).await
}

#[tokio::test]
async fn an_event_becomes_an_issue_with_all_that_it_carries_and_without_its_secrets() {
    let host = TestHost::start();
    let sent = event(
        "ValueError",
        json!({
            "event_id": "9ec79c33ec9942ab8353589fcb2e04dc", "tags": {"route": "/pay"}, "user": {"id": "17", "email": "ann@shop.example"},
            "breadcrumbs": {"values": [{"category": "query", "message": "SELECT 1", "data": {"password": "hunter2"}}]},
            "contexts": {"trace": {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331"}, "runtime": {"name": "CPython"}},
            "request": {"url": "https://shop.example/pay?token=abc", "cookies": "sid=secretsid", "headers": [["Authorization", "Bearer zzyyxxww"]]},
        }),
    );
    let answer = send(host.client(), &[("event", sent)]).await.ok();
    assert_eq!(answer.json(), json!({"id": "9ec79c33ec9942ab8353589fcb2e04dc"}));
    let issue = issues_until(host.client(), "", 1).await.remove(0);
    for (key, value) in [
        ("type", "ValueError"),
        ("service", "shop"),
        ("culprit", "orders in charge"),
        ("first_release", "shop@1.0.0"),
        ("level", "ERROR"),
    ] {
        assert_eq!(issue[key], value, "{issue:#}");
    }
    assert_eq!((&issue["users"], &issue["users_exact"]), (&json!(1), &json!(true)));
    let detail = detail(host.client(), &issue["id"]).await;
    let event = &detail["events"][0];
    assert!(
        event["stacktrace"].as_str().is_some_and(|trace| trace.contains("orders.py\", line 12, in charge\n    raise it")),
        "{event:#}"
    );
    assert_eq!(event["details"]["breadcrumbs"]["values"][0]["message"], "SELECT 1");
    assert_eq!(event["details"]["contexts"]["runtime"]["name"], "CPython");
    assert_eq!(event["links"]["logs_by"], "trace");
    let logs = host.client().get_json(event["links"]["logs"].as_str().expect("a path")).await;
    assert_eq!(logs["records"].as_array().map(Vec::len), Some(1), "{logs:#}");
    let metrics = event["links"]["metrics"][0].as_str().expect("a path");
    assert_ne!(host.client().get(metrics).await.status, 400);
    let tags: Vec<&str> = detail["tags"].as_array().expect("a list").iter().filter_map(|tag| tag["key"].as_str()).collect();
    assert_eq!(tags, ["environment", "release", "route", "server"]);
    let everything = format!("{detail} {}", host.client().get("/api/v1/export/logs").await.ok().body);
    for secret in ["hunter2", "token=abc", "secretsid", "zzyyxxww"] {
        assert!(!everything.contains(secret), "{secret} is stored: {everything}");
    }
}

#[tokio::test]
async fn one_error_is_one_issue_whether_an_sdk_reports_or_a_program_logs_it() {
    let host = TestHost::start();
    send_event(host.client(), event("ValueError", json!({}))).await;
    let trace = "Traceback (most recent call last):\n  File \"/opt/shop/api.py\", line 7, in handle\n    x\n  File \"/opt/shop/orders.py\", line 90, in charge\n    x\nValueError: order 6 has no open position";
    host.client().ingest(&[json!({"level": "ERROR", "service": "shop", "message": format!("request failed\n{trace}")})]).await;
    let issues = issues_until(host.client(), "", 2).await;
    assert_eq!(issues.len(), 1, "{issues:#?}");
}

#[tokio::test]
async fn every_compression_and_every_place_of_the_key_is_taken() {
    let host = TestHost::start();
    let body = envelope(&[("event", event("ValueError", json!({})))]).into_bytes();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&body).expect("memory can be written");
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(&body).expect("memory can be written");
    let bodies = [
        ("gzip", gzip.finish().expect("memory can be written")),
        ("deflate", zlib.finish().expect("memory can be written")),
        ("zstd", zstd::bulk::compress(&body, 1).expect("memory can be written")),
        ("br", stored_brotli(&body)),
        ("identity", body.clone()),
    ];
    for (encoding, body) in &bodies {
        let request = host.client().request(reqwest::Method::POST, "/api/1/envelope/");
        host.client().send(request.header("content-encoding", *encoding).body(body.clone())).await.ok();
    }
    host.client().post_json("/api/7/store/", &event("ValueError", json!({}))).await.ok();
    assert_eq!(issues_until(host.client(), "", 6).await.len(), 1);
    let odd = host.client().post("/api/one/envelope/", "text/plain", body.clone()).await;
    assert_eq!(odd.status, 404);
    let broken = host.client().post("/api/1/envelope/", "text/plain", "not an envelope").await;
    assert_eq!((broken.status, broken.header("x-sentry-error").is_empty()), (400, false));
}

/// Returns `bytes` as brotli would have them without compressing: RFC 7932, 9.2, uncompressed meta-blocks.
fn stored_brotli(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut bits, mut count) = (Vec::new(), 0_u64, 0);
    let mut put = |out: &mut Vec<u8>, value: u64, width: u32| {
        bits |= value << count;
        count += width;
        while count >= 8 {
            out.push(bits as u8);
            bits >>= 8;
            count -= 8;
        }
        count
    };
    // A window of 2^16 bytes.
    put(&mut out, 0, 1);
    for chunk in bytes.chunks(1 << 16) {
        put(&mut out, 0, 1); // not the last
        put(&mut out, 0, 2); // four nibbles of length
        put(&mut out, chunk.len() as u64 - 1, 16);
        let left = put(&mut out, 1, 1); // uncompressed
        if left > 0 {
            put(&mut out, 0, 8 - left);
        }
        out.extend_from_slice(chunk);
    }
    // The last one is empty.
    put(&mut out, 3, 8);
    out
}

#[tokio::test]
async fn a_page_of_any_site_may_send_with_the_key_and_reads_nothing() {
    let host = TestHost::start();
    let path = "/api/1/envelope/";
    let preflight = host.client().request(reqwest::Method::OPTIONS, path).header("origin", "https://shop.example");
    let preflight = host.client().send(preflight.header("access-control-request-headers", "x-sentry-auth")).await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (204, "*"));
    assert_eq!(preflight.header("access-control-allow-headers"), "x-sentry-auth");
    let dsn = host.client().get_json("/api/v1/errors/dsn").await;
    let key = dsn["key"].as_str().expect("a key").to_owned();
    let from_page = async |path: &str, dsn: &str| {
        let text = envelope(&[("event", event("ValueError", json!({})))]).replacen("{}", &json!({"dsn": dsn}).to_string(), 1);
        let request = host.client().request(reqwest::Method::POST, path).header("origin", "https://shop.example");
        host.client().send(request.header("content-type", "text/plain").body(text)).await
    };
    let refused = from_page("/api/1/envelope/?sentry_key=wrong", "").await;
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (403, "*"), "{}", refused.body);
    assert_eq!(from_page(path, "").await.status, 403);
    assert_eq!(from_page(path, "http://wrong@localhost/1").await.status, 403);
    from_page(&format!("/api/1/envelope/?sentry_key={key}"), "").await.ok();
    from_page(path, &format!("http://{key}@localhost/1")).await.ok();
    issues_until(host.client(), "", 2).await;
    let reading = host
        .client()
        .request(reqwest::Method::GET, &format!("/api/v1/issues?sentry_key={key}"))
        .header("origin", "https://shop.example");
    assert_eq!(host.client().send(reading).await.status, 403, "the key of a DSN opens nothing else");
}

#[tokio::test]
async fn everything_else_that_sdks_send_is_taken_or_counted() {
    let host = TestHost::start();
    let answer = send(
        host.client(),
        &[
            ("log", json!({"items": [{"timestamp": 1, "level": "warn", "body": "slow", "attributes": {"ms": {"value": 12, "type": "integer"}}}]})),
            ("check_in", json!({"check_in_id": "83a7c03ed0a04e1b97e2e3b18d38f244", "monitor_slug": "nightly", "status": "ok"})),
            ("sessions", json!({"aggregates": [{"started": "2026-11-22T08:00:00Z", "exited": 40, "crashed": 2}], "attrs": {"release": "shop@1.0.0"}})),
            ("client_report", json!({"discarded_events": [{"reason": "queue_overflow", "category": "error", "quantity": 7}]})),
            ("feedback", json!({"contexts": {"feedback": {"message": "it broke", "associated_event_id": "9ec79c33ec9942ab8353589fcb2e04dc"}}})),
            ("transaction", json!({"spans": []})),
            ("of the future", json!({})),
        ],
    )
    .await
    .ok();
    assert_eq!(answer.json(), json!({"id": ""}));
    let records = host.client().records_until(3, &[]).await;
    let mut bodies: Vec<_> = records.iter().filter_map(|record| record.body.as_text()).collect();
    bodies.sort_unstable();
    assert_eq!(bodies, ["a user said: it broke", "check-in of monitor nightly: ok", "slow"]);
    let crashed = host.client().series("sentry.sessions", &[("status", "crashed")]).await;
    assert_eq!(crashed.len(), 1, "{crashed:#?}");
    let own = host.client().get("/metrics").await.ok().body;
    for line in [
        r#"watchfire_sentry_items_total{type="transaction"} 1"#,
        r#"watchfire_sentry_items_total{type="other"} 1"#,
        r#"watchfire_sentry_lost_by_client_total{category="error",reason="queue_overflow"} 7"#,
    ] {
        assert!(own.contains(line), "{line} is not in {own}");
    }
    let csp = json!({"csp-report": {"document-uri": "https://shop.example/", "violated-directive": "img-src", "blocked-uri": "https://evil.example/a"}});
    host.client().post_json("/api/1/security/?sentry_key=any", &csp).await.ok();
    host.client().post("/api/1/minidump/?sentry_key=any", "multipart/form-data; boundary=x", "--x--").await.ok();
    assert_eq!(issues_until(host.client(), "", 2).await.len(), 2);
}

#[tokio::test]
async fn issues_are_searched_and_resolved_by_release() {
    let mut host = TestHost::start();
    send_event(host.client(), event("ValueError", json!({"tags": {"route": "/pay"}}))).await;
    send_event(host.client(), event("KeyError", json!({"level": "fatal", "environment": "test"}))).await;
    issues_until(host.client(), "", 2).await;
    let found = async |host: &TestHost, query: &str| {
        let answer = host.client().query("/api/v1/issues", &[("q", query)]).await.ok().json();
        answer["issues"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|issue| issue["type"].as_str().unwrap_or("").to_owned())
            .collect::<Vec<_>>()
    };
    for (query, types) in [
        ("route:/pay", &["ValueError"][..]),
        ("tag:route=/p*", &["ValueError"]),
        ("!has:route is:unresolved", &["KeyError"]),
        ("environment:test level:fatal", &["KeyError"]),
        ("release:shop@1.0.0 service:shop type:Key*", &["KeyError"]),
        ("open position type:ValueError", &["ValueError"]),
        ("is:resolved", &[]),
        ("is:assigned", &[]),
    ] {
        assert_eq!(found(&host, query).await, types, "{query}");
    }
    assert_eq!(host.client().query("/api/v1/issues", &[("q", "is:resolvd")]).await.status, 400);
    let issue = issues_until(host.client(), "&q=route:/pay", 1).await.remove(0);
    let act = async |host: &TestHost, verb: &str, body: Value| {
        host.client().post_json(&format!("/api/v1/issues/{}/{verb}", issue["id"].as_str().expect("an id")), &body).await.ok().json()
    };
    assert_eq!(act(&host, "assign", json!({"to": "ann"})).await["issue"]["assigned_to"], "ann");
    assert_eq!(found(&host, "assigned:ann").await, ["ValueError"]);
    let commented = act(&host, "comments", json!({"text": "a rounding error", "author": "ann"})).await;
    assert_eq!(commented["comments"][0]["text"], "a rounding error");
    assert_eq!(act(&host, "resolve", json!({"release": "shop@1.2.0"})).await["issue"]["resolved_in"], "shop@1.2.0");
    send_event(host.client(), event("ValueError", json!({"release": "shop@1.1.0", "tags": {"route": "/pay"}}))).await;
    let issue_now = issues_until(host.client(), "&q=route:/pay", 2).await.remove(0);
    assert_eq!(issue_now["status"], "resolved", "an older release does not have it mended");
    host.restart();
    send_event(host.client(), event("ValueError", json!({"release": "shop@1.10.0", "tags": {"route": "/pay"}}))).await;
    let issue_now = issues_until(host.client(), "&q=route:/pay", 3).await.remove(0);
    assert_eq!((&issue_now["status"], &issue_now["assigned_to"]), (&json!("unresolved"), &json!("ann")));
    assert_eq!(found(&host, "is:regressed").await, ["ValueError"]);
    let latest = act(&host, "resolve", json!({"in_next_release": true})).await;
    assert_eq!(latest["issue"]["resolved_in"], "shop@1.10.0");
    send_event(host.client(), event("ValueError", json!({"release": "shop@1.10.0", "tags": {"route": "/pay"}}))).await;
    assert_eq!(issues_until(host.client(), "&q=route:/pay", 4).await[0]["status"], "resolved");
    act(&host, "ignore", json!({"count": 2})).await;
    for count in [5, 6] {
        let status = if count == 6 { "unresolved" } else { "ignored" };
        send_event(host.client(), event("ValueError", json!({"tags": {"route": "/pay"}}))).await;
        assert_eq!(issues_until(host.client(), "&q=route:/pay", count).await[0]["status"], status, "{count}");
    }
}

#[tokio::test]
async fn merged_issues_are_one_until_they_are_taken_apart() {
    let mut host = TestHost::start();
    for kind in ["ValueError", "KeyError", "KeyError"] {
        send_event(host.client(), event(kind, json!({"user": {"id": kind}}))).await;
    }
    let issues = issues_until(host.client(), "", 3).await;
    let (keys, values) = (issues[0]["id"].as_str().expect("an id"), issues[1]["id"].as_str().expect("an id"));
    let act = async |host: &TestHost, id: &str, verb: &str, body: Value| {
        host.client().post_json(&format!("/api/v1/issues/{id}/{verb}"), &body).await
    };
    let merged = act(&host, values, "merge", json!({"issues": [keys]})).await.ok().json();
    assert_eq!(
        (&merged["issue"]["count"], &merged["issue"]["merged"], &merged["issue"]["users"]),
        (&json!(3), &json!(1), &json!(2))
    );
    assert_eq!(merged["events"].as_array().map(Vec::len), Some(3));
    host.restart();
    send_event(host.client(), event("KeyError", json!({}))).await;
    let one = issues_until(host.client(), "", 4).await;
    assert_eq!((one.len(), one[0]["id"].as_str()), (1, Some(values)), "what comes later goes to the merged issue");
    assert_eq!(detail(host.client(), &json!(keys)).await["issue"]["id"], values, "the old address leads on");
    assert_eq!(act(&host, values, "merge", json!({"issues": [values]})).await.status, 400);
    assert_eq!(act(&host, values, "merge", json!({"issues": ["none"]})).await.status, 404);
    let apart = act(&host, keys, "unmerge", json!({})).await.ok().json();
    assert_eq!(apart, json!({"issues": [keys]}));
    let issues = issues_until(host.client(), "", 4).await;
    let counts: Vec<_> =
        issues.iter().map(|issue| (issue["type"].as_str().unwrap_or(""), issue["count"].as_u64().unwrap_or(0))).collect();
    assert_eq!(counts, [("KeyError", 3), ("ValueError", 1)]);
}

#[tokio::test]
async fn users_say_what_errors_are_grouped_by_and_are_told_why() {
    let host = TestHost::start_with(|config, _| {
        config.error_tracking.projects.insert(1, "shop".into());
        config.error_tracking.grouping.rules = vec![watchfire::errors::rules::FingerprintRule {
            kind: Some("Timeout*".into()),
            fingerprint: vec!["timeouts of {{ service }}".into()],
            ..Default::default()
        }];
    });
    let other_place = |kind: &str, more: Value| {
        let mut event = event(kind, more);
        event["exception"]["values"][0]["stacktrace"]["frames"][1]["function"] = json!("elsewhere");
        event
    };
    for event in [
        event("TimeoutError", json!({})),
        other_place("TimeoutException", json!({})),
        event("ValueError", json!({"fingerprint": ["{{ default }}", "eu"]})),
        event("ValueError", json!({"fingerprint": ["{{ default }}", "us"]})),
        event("ValueError", json!({"fingerprint": ["{{ default }}"]})),
        event("ValueError", json!({})),
    ] {
        send_event(host.client(), event).await;
    }
    let issues = issues_until(host.client(), "", 6).await;
    let counts: Vec<_> = issues.iter().map(|issue| issue["count"].as_u64().unwrap_or(0)).collect();
    assert_eq!(counts, [2, 2, 1, 1], "{issues:#?}");
    let timeouts =
        issues.iter().find(|issue| issue["type"].as_str().is_some_and(|kind| kind.starts_with("Timeout"))).expect("an issue");
    let why = host.client().get_json(&format!("/api/v1/issues/{}/why", timeouts["id"].as_str().expect("an id"))).await;
    assert_eq!((&why["grouping"]["basis"], &why["grouping"]["asked_by"]), (&json!("fingerprint"), &json!("rule 0")));
    let parts = why["components"].as_array().expect("a list");
    let counting: Vec<_> =
        parts.iter().filter(|part| part["contributes"] == true).map(|part| part["kind"].as_str().unwrap_or("")).collect();
    assert_eq!(counting, ["service", "fingerprint"], "{why:#}");
}

#[tokio::test]
async fn the_command_line_does_all_of_it() {
    let installation = Installation::new(json!({"error_tracking": {"projects": {"7": "billing"}}}));
    let host = installation.start().await;
    let run = |arguments: &[&str]| installation.run_against(&host, &[&["errors"][..], arguments].concat());
    let dsn = run(&["dsn", "billing"]).expect(0).stdout.trim().to_owned();
    let (key, rest) = dsn.strip_prefix("http://").and_then(|rest| rest.split_once('@')).expect("a DSN");
    assert!(key.len() == 32 && rest.ends_with("/7"), "{dsn}");
    run(&["dsn", "unknown"]).expect(2);
    for kind in ["ValueError", "KeyError"] {
        let answer = host
            .client()
            .post_json(&format!("/api/7/store/?sentry_key={key}"), &event(kind, json!({"tags": {"route": "/pay"}})))
            .await;
        assert_eq!(answer.ok().json()["id"].as_str().map(str::len), Some(32));
    }
    let issues = issues_until(host.client(), "", 2).await;
    assert_eq!(issues[0]["service"], "billing");
    let (one, two) = (issues[0]["id"].as_str().expect("an id"), issues[1]["id"].as_str().expect("an id"));
    assert!(run(&["list", "is:unresolved", "route:/pay"]).expect(0).stdout.contains(one));
    assert!(run(&["show", one]).expect(0).stdout.contains("route"));
    assert!(run(&["why", one]).expect(0).stdout.contains("one of the application's five nearest calls"));
    run(&["assign", one, "ann"]).expect(0);
    run(&["comment", one, "a rounding error", "--author", "ann"]).expect(0);
    run(&["resolve", one, "--in", "shop@2.0.0"]).expect(0);
    run(&["ignore", one, "--until", "2h", "--count", "10"]).expect(0);
    run(&["unresolve", one]).expect(0);
    run(&["merge", one, two]).expect(0);
    assert!(run(&["show", one]).expect(0).stdout.contains("a rounding error"));
    assert_eq!(run(&["list", "--json"]).expect(0).json_lines().len(), 1);
    run(&["unmerge", one]).expect(0);
    assert_eq!(run(&["list", "--json"]).expect(0).json_lines().len(), 2);
    run(&["ignore", one, "--until", "yesterday"]).expect(2);
}
