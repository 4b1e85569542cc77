//! Secrets are gone before anybody sees a record: the search, the live tail, issues.

use serde_json::json;
use watchfire::config::Config;
use watchfire_redact::{Action, Custom, Rule};
use watchfire_tests::{TestHost, eventually};

fn host(change: impl FnOnce(&mut Config)) -> TestHost {
    TestHost::start_with(|config, _| change(config))
}

#[tokio::test]
async fn what_is_a_secret_is_neither_stored_nor_found() {
    let host = host(|_| ());
    let request = host.client().request(reqwest::Method::GET, "/api/v1/logs/tail");
    let mut stream = host.client().events(request).await;
    let lines = [
        json!({"service": "api", "message": "login password=hunter2 by bob@example.com", "api_key": "abc", "user": 7}),
        json!({"service": "api", "message": "paid with 4111 1111 1111 1111", "body": {"card": 4_111_111_111_111_111_u64}}),
    ];
    host.client().ingest(&lines).await;
    let mut records = host.client().records_until(2, &[]).await;
    records.sort_by_key(|record| record.seq.parse::<u64>().ok());
    // Addresses are needed more often than not, and stay.
    assert_eq!(records[0].body.as_text(), Some("login password=[redacted:secret] by bob@example.com"));
    assert!(records[0].attributes.contains(&("api_key".into(), "[redacted:secret]".into())), "{records:?}");
    assert_eq!(records[1].body.as_text(), Some("paid with [redacted:card]"));
    assert_eq!(stream.next().await.record.body, records[0].body);
    for secret in ["hunter2", "4111", "abc"] {
        assert_eq!(host.client().records(&[("q", secret)]).await, [], "{secret}");
    }
    eventually("what was found is counted", async || {
        let text = host.client().get("/metrics").await.ok().body;
        text.lines().any(|line| line == r#"watchfire_redacted_total{rule="secret"} 2"#).then_some(())
    })
    .await;
}

#[tokio::test]
async fn errors_that_programs_report_are_redacted_too() {
    let host = host(|_| ());
    let error = json!({
        "type": "LoginError", "message": "cannot log in with password=hunter2", "service": "api",
        "stacktrace": "Traceback (most recent call last):\n  File \"a.py\", line 1, in login(token='0123456789abcdef')\nLoginError: password=hunter2",
        "attributes": {"db_password": "hunter2"},
    });
    host.client().post_json("/api/v1/errors", &error).await.ok();
    let issue = eventually("an issue", async || {
        let answer = host.client().get_json("/api/v1/issues").await;
        answer["issues"].as_array()?.first().cloned()
    })
    .await;
    let id = issue["id"].as_str().map_or_else(|| issue["id"].to_string(), str::to_owned);
    let whole = host.client().get_json(&format!("/api/v1/issues/{id}")).await;
    let text = format!("{issue} {whole} {:?}", host.client().records(&[]).await);
    assert!(!text.contains("hunter2") && !text.contains("0123456789abcdef"), "{text}");
}

#[tokio::test]
async fn rules_are_as_the_configuration_says_and_hashes_last() {
    let mut host = host(|config| {
        let redaction = config.redaction.as_mut().expect("it is on by default");
        redaction.rules.insert(Rule::Email, Action::Hash);
        redaction.rules.insert(Rule::Secret, Action::Off);
        redaction.custom = vec![Custom { name: "order".into(), pattern: r"order (?P<secret>\d+)".into(), action: Action::Remove }];
    });
    host.client().ingest(&[json!({"message": "order 77 of a@b.io password=x"})]).await;
    host.restart();
    host.client().ingest(&[json!({"message": "order 78 of a@b.io password=x"})]).await;
    let records = host.client().records_until(2, &[]).await;
    let text = records[0].body.as_ref().display();
    assert!(text.starts_with("order  of [email:") && text.ends_with("] password=x"), "{text}");
    assert_eq!(records[0].body, records[1].body);
}

#[tokio::test]
async fn redaction_may_be_switched_off() {
    let host = host(|config| config.redaction = None);
    host.client().ingest(&[json!({"message": "password=hunter2"})]).await;
    assert_eq!(host.client().records_until(1, &[]).await[0].body.as_text(), Some("password=hunter2"));
}
