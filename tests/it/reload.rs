//! Reading the configuration again at SIGHUP.

use std::fs;

use serde_json::json;
use watchfire_tests::{Installation, WebhookReceiver, eventually};

#[tokio::test]
async fn a_reload_takes_the_new_rules_and_neither_sends_again_nor_drops() {
    let webhook = WebhookReceiver::start();
    let rule = |name: &str| json!({"name": name, "logs": {"level": "ERROR"}, "threshold": 0, "window": "10m"});
    let alerting = |rules: serde_json::Value| {
        json!({"alerting": {
            "group_wait": 0, "group_interval": "1s",
            "receivers": [{"name": "team", "webhook": {"url": webhook.url()}}],
            "rules": rules,
        }})
    };
    let mut installation = Installation::new(alerting(json!([rule("first")])));
    let host = installation.start().await;
    let client = host.client();
    client.ingest(&[json!({"level": "ERROR", "message": "one"})]).await;
    webhook.wait_for(1).await;

    installation.configure(alerting(json!([rule("first"), rule("second")])));
    host.hang_up();
    // Connections made during the reload wait. One that was just open may be closed: a client then asks again, as here.
    eventually("the record is taken", async || {
        let request = client.request(reqwest::Method::POST, "/api/v1/logs").body(r#"{"level": "ERROR", "message": "two"}"#);
        client.try_send(request).await.filter(|answer| answer.status == 200)
    })
    .await;
    let deliveries = webhook.wait_for(2).await;
    let names: Vec<_> = deliveries.iter().map(|delivery| delivery.json()["alerts"][0]["labels"]["alertname"].clone()).collect();
    assert_eq!(names, ["first", "second"]);
    client.records_until(2, &[("level", "error")]).await;

    fs::write(installation.path("config.json"), "{").expect("the folder can be written");
    host.hang_up();
    eventually("the host says why it goes on as it was", async || {
        host.log().iter().any(|line| line.contains("not read again")).then_some(())
    })
    .await;
    client.ingest(&[json!({"level": "ERROR", "message": "three"})]).await;
    client.records_until(3, &[("level", "error")]).await;
    assert_eq!(webhook.deliveries().len(), 2);
}
