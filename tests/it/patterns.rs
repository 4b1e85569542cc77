//! Patterns of log records: ids with every record, counts that add up, what varies.

use serde_json::{Value, json};
use watchfire_tests::{Client, Installation, TestHost};

/// Sends `count` records of each of three patterns from two services, and one without text.
async fn send(client: &Client, count: usize) {
    let mut lines = Vec::new();
    for number in 0..count {
        let user = if number % 4 == 0 { "root" } else { "bob" };
        lines.push(json!({"service": "sshd", "level": "warn", "message": format!("Failed password for {user} from 10.0.0.{} port {}", number % 7, 1000 + number)}));
        lines.push(json!({"service": "shop", "level": "info", "message": format!("order {number} paid in {} ms", number % 100)}));
        lines.push(json!({"service": "shop", "level": "error", "message": format!("cannot reach stock at http://10.1.1.{}/v{number}", number % 3)}));
    }
    lines.push(json!({"service": "shop", "level": "info", "message": 7}));
    client.ingest(&lines).await;
}

async fn patterns(client: &Client, query: &[(&str, &str)]) -> Value {
    client.query("/api/v1/patterns", query).await.ok().json()
}

fn count_of(list: &Value, beginning: &str) -> u64 {
    let rows = list["patterns"].as_array().expect("a list");
    let counts = rows.iter().filter(|row| row["template"].as_str().is_some_and(|text| text.starts_with(beginning)));
    counts.map(|row| row["count"].as_u64().unwrap_or(0)).sum()
}

#[tokio::test]
async fn counts_of_patterns_are_exact_and_add_up_whatever_is_asked() {
    let host = TestHost::start();
    send(host.client(), 200).await;
    let all = patterns(host.client(), &[]).await;
    assert_eq!((all["total"].as_u64(), all["other"]["count"].as_u64()), (Some(601), Some(0)), "{all}");
    for beginning in ["Failed password for ", "order ", "cannot reach stock at "] {
        assert_eq!(count_of(&all, beginning), 200, "{beginning}: {all}");
    }
    let one = patterns(host.client(), &[("limit", "1"), ("sort", "level")]).await;
    assert_eq!(one["patterns"][0]["severity_number"], 17, "{one}");
    let listed = one["patterns"][0]["count"].as_u64().unwrap_or(0);
    let rest = one["other"]["count"].as_u64().unwrap_or(0) + one["without_pattern"].as_u64().unwrap_or(0);
    assert_eq!(listed + rest, 601, "{one}");
    let steps: u64 = one["patterns"][0]["counts"].as_array().expect("a sparkline").iter().filter_map(Value::as_u64).sum();
    assert_eq!(steps, listed);
    let warnings = patterns(host.client(), &[("level", "warn"), ("service", "sshd")]).await;
    assert_eq!((warnings["total"].as_u64(), count_of(&warnings, "Failed password for ")), (Some(200), 200), "{warnings}");
    let found = patterns(host.client(), &[("q", "root")]).await;
    assert_eq!((found["total"].as_u64(), count_of(&found, "Failed password for ")), (Some(50), 50), "{found}");
    for (query, reason) in [("sort=x", "sort"), ("level=x", "level"), ("since=x", "since"), ("sorted=count", "sorted")] {
        let answer = host.client().get(&format!("/api/v1/patterns?{query}")).await;
        assert_eq!(answer.status, 400);
        assert!(answer.json()["error"]["message"].as_str().is_some_and(|text| text.contains(reason)), "{query}");
    }
}

#[tokio::test]
async fn a_pattern_shows_what_varies_and_its_records() {
    let host = TestHost::start();
    send(host.client(), 100).await;
    let all = patterns(host.client(), &[("service", "sshd")]).await;
    let id = all["patterns"][0]["id"].as_str().expect("an id").to_owned();
    let shown = host.client().get_json(&format!("/api/v1/patterns/{id}")).await;
    assert_eq!((shown["pattern"]["count"].as_u64(), shown["examined"].as_u64()), (Some(100), Some(100)), "{shown}");
    let variables = shown["variables"].as_array().expect("variables");
    let user = variables.iter().find(|variable| variable["after"] == "Failed password for");
    let port = variables.iter().find(|variable| variable["after"] == "port").expect("the port varies");
    if let Some(user) = user {
        assert_eq!(user["top"][0], json!({"value": "bob", "count": 75}), "{shown}");
    }
    assert_eq!((port["distinct"].as_u64(), port["numbers"]["max"].as_f64()), (Some(100), Some(1099.0)), "{shown}");
    let record = &shown["records"][0];
    assert_eq!(record["pattern"].as_str(), Some(id.as_str()));
    let found = host.client().records(&[("q", &format!("pattern:{id}")), ("limit", "1000")]).await;
    assert_eq!(found.len(), 100);
    assert_eq!(host.client().get("/api/v1/patterns/987654321").await.status, 404);
    assert_eq!(host.client().get("/api/v1/patterns/x").await.status, 404);
}

#[tokio::test]
async fn the_command_shows_patterns_with_sparklines_and_one_with_its_variables() {
    let installation = Installation::new(json!({}));
    let host = installation.start().await;
    send(host.client(), 20).await;
    let table = installation.run_against(&host, &["patterns", "--since", "1h"]).expect(0).stdout;
    assert!(table.contains("<*>") && table.contains("COUNT") && table.contains("order "), "{table}");
    let rows =
        installation.run_against(&host, &["patterns", "--json", "--service", "sshd", "--level", "warn"]).expect(0).json_lines();
    assert_eq!(rows[0]["count"], 20);
    let id = rows[0]["id"].as_str().expect("an id");
    let shown = installation.run_against(&host, &["patterns", "show", id]).expect(0).stdout;
    assert!(shown.contains("port") && shown.contains("20 "), "{shown}");
    assert_eq!(installation.run_against(&host, &["patterns", "show", "99999"]).code, 2);
}
